import { useId } from "react";
import type { Draft } from "./draft";
import { type PlacedProblem, problemText } from "./problems";

interface Props {
  draft: Draft;
  problems: readonly PlacedProblem[];
  onEdit: (text: string) => void;
}

const FEWEST_LINES = 18;

/** The study as text, with the numbers of its lines; those with a problem are marked. */
export function YamlEditor({ draft, problems, onEdit }: Props) {
  const id = useId();
  const lines = Math.max(FEWEST_LINES, draft.text.split("\n").length);
  const wrong = new Map<number, string>();
  for (const problem of problems) if (problem.line !== null) wrong.set(problem.line, problemText(problem));
  if (draft.fault) wrong.set(draft.fault.line, draft.fault.message);
  return (
    <div className="yaml">
      <div className="gutter" aria-hidden="true">
        {Array.from({ length: lines }, (_, i) => i + 1).map((line) => (
          <span key={line} className={wrong.has(line) ? "wrong" : undefined} title={wrong.get(line)}>
            {line}
          </span>
        ))}
      </div>
      <textarea
        aria-label="Study as YAML"
        aria-describedby={`${id}-problems`}
        aria-invalid={wrong.size > 0 || undefined}
        className="mono"
        wrap="off"
        spellCheck={false}
        autoCapitalize="off"
        autoComplete="off"
        rows={lines}
        value={draft.text}
        onChange={(event) => onEdit(event.target.value)}
      />
      <div id={`${id}-problems`} className="yaml-problems">
        {[...wrong]
          .sort(([one], [other]) => one - other)
          .map(([line, text]) => (
            <p key={line} className="bad">
              Line {line}: {text}
            </p>
          ))}
      </div>
    </div>
  );
}
