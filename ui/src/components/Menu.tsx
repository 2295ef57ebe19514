import { type ReactNode, useId, useRef } from "react";

interface Props {
  /** What the button is called for those who do not see the dots. */
  label: string;
  children: ReactNode;
}

const GAP_PX = 4;

/** Rare actions behind a button with dots. In the top layer, so that no table cuts it off. */
export function Menu({ label, children }: Props) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const body = useRef<HTMLDivElement>(null);
  const place = () => {
    if (button.current && body.current) below(button.current, body.current);
  };
  return (
    <>
      <button ref={button} type="button" className="dots" popoverTarget={id} aria-label={label} title={label}>
        <span aria-hidden="true">⋯</span>
      </button>
      {/* Activating an entry closes the menu, and gives the focus back to its button. */}
      <div ref={body} id={id} popover="auto" className="popup menu-list" onToggle={place}>
        {children}
      </div>
    </>
  );
}

/** Places a popup below an element, within the window. */
export function below(anchor: Element, popup: HTMLElement): void {
  const at = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = popup;
  const { clientWidth, clientHeight } = document.documentElement;
  const left = Math.max(GAP_PX, Math.min(at.right - width, clientWidth - width - GAP_PX));
  const fits = at.bottom + GAP_PX + height <= clientHeight;
  popup.style.left = `${left}px`;
  popup.style.top = `${fits ? at.bottom + GAP_PX : Math.max(GAP_PX, at.top - GAP_PX - height)}px`;
}
