// Controls for one value each. All of them take the same properties, so that a field can choose by the schema.

import type { ReactNode } from "react";
import { blockOf, itemText, lineOf, listText, readItem, readList, readValue } from "../draft";
import { useText } from "./useText";

export interface ControlProps {
  id: string;
  value: unknown;
  onChange: (value: unknown) => void;
  placeholder: string;
  /** Ids of what is said about the field. */
  describedBy: string;
  invalid: boolean;
  /** Id of a list of suggestions. */
  suggestions?: string | undefined;
  readOnly?: boolean;
  /** For controls that no label names. */
  name?: string | undefined;
}

function shared({ id, describedBy, invalid, name }: ControlProps) {
  return { id, "aria-describedby": describedBy, "aria-invalid": invalid || undefined, "aria-label": name };
}

const QUIET = { spellCheck: false, autoComplete: "off", autoCapitalize: "off" } as const;

function Line({ text, fault, type, ...props }: ControlProps & TextState) {
  return (
    <>
      <input
        {...shared(props)}
        {...QUIET}
        aria-invalid={props.invalid || fault !== "" || undefined}
        value={text}
        placeholder={props.placeholder}
        list={props.suggestions}
        readOnly={props.readOnly}
        onChange={(event) => type(event.target.value)}
      />
      <Fault text={fault} />
    </>
  );
}

interface TextState {
  text: string;
  fault: string;
  type: (text: string) => void;
}

export function Fault({ text }: { text: string }): ReactNode {
  return text && <span className="bad small">{text}</span>;
}

export function TextControl(props: ControlProps) {
  const [text, fault, type] = useText(
    props.value,
    (value) => (typeof value === "string" ? value : lineOf(value)),
    (typed) => ({ value: typed.trim() === "" ? undefined : typed.trim() }),
    props.onChange,
  );
  return <Line {...props} text={text} fault={fault} type={type} />;
}

export function ScalarControl(props: ControlProps) {
  const [text, fault, type] = useText(props.value, lineOf, readValue, props.onChange);
  return <Line {...props} text={text} fault={fault} type={type} />;
}

export function ListControl({ single, ...props }: ControlProps & { single: boolean }) {
  const [text, fault, type] = useText(
    props.value,
    listText,
    (typed) => readList(typed, single),
    props.onChange,
  );
  return <Line {...props} text={text} fault={fault} type={type} />;
}

/** A value that has no control of its own, as YAML. */
export function YamlControl(props: ControlProps) {
  const [text, fault, type] = useText(props.value, blockOf, readValue, props.onChange);
  return (
    <>
      <textarea
        {...shared(props)}
        {...QUIET}
        className="mono"
        rows={Math.min(12, Math.max(2, text.split("\n").length))}
        value={text}
        placeholder={props.placeholder}
        onChange={(event) => type(event.target.value)}
      />
      <Fault text={fault} />
    </>
  );
}

export function ChoiceControl({ options, ...props }: ControlProps & { options: readonly string[] }) {
  const given = props.value === undefined || props.value === null ? "" : itemText(props.value);
  const all = given === "" || options.includes(given) ? options : [...options, given];
  return (
    <select
      {...shared(props)}
      value={given}
      onChange={(event) => props.onChange(event.target.value === "" ? undefined : event.target.value)}
    >
      <option value="">{props.placeholder ? `default: ${props.placeholder}` : "–"}</option>
      {all.map((option) => (
        <option key={option}>{option}</option>
      ))}
    </select>
  );
}

const SWITCH: Readonly<Record<string, boolean | undefined>> = { "": undefined, yes: true, no: false };

export function SwitchControl(props: ControlProps) {
  const given = props.value === true ? "yes" : props.value === false ? "no" : "";
  const usual = props.placeholder === "true" ? "yes" : props.placeholder === "false" ? "no" : "";
  return (
    <select {...shared(props)} value={given} onChange={(event) => props.onChange(SWITCH[event.target.value])}>
      <option value="">{usual ? `default: ${usual}` : "–"}</option>
      <option>yes</option>
      <option>no</option>
    </select>
  );
}

/** One text or mapping per row; the last row is for another one. */
export function RowsControl(props: ControlProps) {
  const items = props.value === undefined ? [] : Array.isArray(props.value) ? props.value : [props.value];
  const put = (index: number, value: unknown) => {
    const after = index < items.length ? items.with(index, value) : [...items, value];
    props.onChange(after);
  };
  const drop = (index: number) => {
    const after = items.toSpliced(index, 1);
    props.onChange(after.length > 0 ? after : undefined);
  };
  return (
    <ol className="rows">
      {[...items, undefined].map((item, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: rows have no identity but their place
        <li key={i}>
          <RowControl
            {...props}
            id={i === 0 ? props.id : `${props.id}-${i}`}
            name={i === 0 ? props.name : `Entry ${i + 1}`}
            value={item}
            placeholder={i === 0 ? props.placeholder : "another one"}
            onChange={(value) => (value === "" ? drop(i) : put(i, value))}
          />
          {i < items.length && (
            <button
              type="button"
              className="plain"
              aria-label={`Remove ${itemText(item)}`}
              onClick={() => drop(i)}
            >
              ✕
            </button>
          )}
        </li>
      ))}
    </ol>
  );
}

function RowControl(props: ControlProps) {
  const [text, fault, type] = useText(
    props.value,
    (value) => (value === undefined ? "" : itemText(value)),
    readItem,
    props.onChange,
  );
  return (
    <span className="grow">
      <Line {...props} text={text} fault={fault} type={type} />
    </span>
  );
}
