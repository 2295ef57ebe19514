import { useEffect, useRef, useState } from "react";

const SHOWN_MS = 2_000;

/** A text with a button that copies it. */
export function Copyable({ text, label }: { text: string; label: string }) {
  const source = useRef<HTMLPreElement>(null);
  const [said, setSaid] = useState("Copy");
  useEffect(() => {
    if (said === "Copy") return;
    const timer = setTimeout(() => setSaid("Copy"), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [said]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setSaid("Copied");
    } catch {
      // Without HTTPS, browsers have no clipboard for pages: the text is selected instead.
      if (source.current) getSelection()?.selectAllChildren(source.current);
      setSaid("Press Ctrl+C");
    }
  };
  return (
    <div className="copyable">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
      <section tabIndex={0} aria-label={`Text of ${label}`}>
        <pre ref={source}>{text}</pre>
      </section>
      <button type="button" onClick={copy} aria-label={`${said} ${label}`}>
        {said}
      </button>
    </div>
  );
}
