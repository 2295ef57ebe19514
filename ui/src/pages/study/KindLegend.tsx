import type { ReactNode } from "react";
import { KIND_TEXTS, KINDS, type MarkKind, shape } from "~/plots/marks";

interface Props {
  kinds: readonly MarkKind[];
  reference: string;
  children?: ReactNode;
}

/** What the marks of a plot mean; only those that it has. */
export function KindLegend({ kinds, reference, children }: Props) {
  const present = new Set(kinds);
  return (
    <ul className="legend">
      {KINDS.filter((kind) => present.has(kind)).map((kind) => (
        <li key={kind}>
          <svg viewBox="0 0 14 14" aria-hidden="true">
            <path className={`mark ${kind}`} d={shape(kind, 7, 7)} />
          </svg>
          {kind === "default" ? reference : KIND_TEXTS[kind]}
        </li>
      ))}
      {children}
    </ul>
  );
}
