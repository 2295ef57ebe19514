import type { ReactNode } from "react";
import type { StudyDetails } from "~/api/types";
import { KIND_TEXTS, KINDS, type MarkKind, shape } from "~/plots/marks";

interface Props {
  kinds: readonly MarkKind[];
  details: StudyDetails;
  children?: ReactNode;
}

/** What the marks of a plot mean; only those that it has. */
export function KindLegend({ kinds, details, children }: Props) {
  const present = new Set(kinds);
  const slos = details.goals.some((goal) => goal.slo !== null);
  const texts = { ...KIND_TEXTS, default: details.reference, ok: slos ? KIND_TEXTS.ok : "measured" };
  return (
    <ul className="legend">
      {KINDS.filter((kind) => present.has(kind)).map((kind) => (
        <li key={kind}>
          <svg viewBox="0 0 14 14" aria-hidden="true">
            <path className={`mark ${kind}`} d={shape(kind, 7, 7)} />
          </svg>
          {texts[kind]}
        </li>
      ))}
      {children}
    </ul>
  );
}
