import { useState } from "react";
import type { Reading } from "../draft";

interface State {
  text: string;
  /** What the text stands for, as far as it could be read. */
  value: unknown;
  fault: string;
}

/** The text of a field. It stays as it is typed, while it stands for the value; a value that changes elsewhere, such as
 * in the YAML, replaces it. */
export function useText(
  value: unknown,
  show: (value: unknown) => string,
  read: (text: string) => Reading,
  commit: (value: unknown) => void,
): [text: string, fault: string, type: (text: string) => void] {
  const [state, setState] = useState<State>(() => ({ text: show(value), value, fault: "" }));
  if (!same(state.value, value)) setState({ text: show(value), value, fault: "" });
  const type = (text: string) => {
    const found = read(text);
    if ("fault" in found) {
      setState({ text, value: state.value, fault: found.fault });
      return;
    }
    setState({ text, value: found.value, fault: "" });
    commit(found.value);
  };
  return [state.text, state.fault, type];
}

export function same(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
