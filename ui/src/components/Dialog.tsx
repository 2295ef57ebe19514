import { type ReactNode, type SyntheticEvent, useEffect, useId, useRef } from "react";

interface Props {
  title: string;
  onClose: () => void;
  children: ReactNode;
}

/** A question that must be answered first. It is open as long as it exists; Escape closes it, and focus goes back. */
export function Dialog({ title, onClose, children }: Props) {
  const box = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    if (box.current && !box.current.open) box.current.showModal();
    return () => {
      // Browsers give the focus back only if the dialog was closed before it went away.
      if (document.activeElement === document.body && before instanceof HTMLElement) before.focus();
    };
  }, []);
  const stop = (event: SyntheticEvent) => event.stopPropagation();
  return (
    // Rows of tables light up with what happens in them, which a dialog above them is not.
    <dialog ref={box} className="dialog" aria-labelledby={id} onClose={onClose} onFocus={stop} onBlur={stop}>
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  );
}

/** Closes the dialog that it is in, as Escape does. */
export function Dismiss({ children }: { children: string }) {
  return (
    <button type="button" onClick={(event) => event.currentTarget.closest("dialog")?.close()}>
      {children}
    </button>
  );
}
