import { Link } from "@tanstack/react-router";
import type { StudyDetails, TrialRow } from "~/api/types";
import { Figure } from "~/components/Figure";
import { metricOf } from "~/format/metrics";
import { goalPath } from "./measures";

interface Props {
  details: StudyDetails;
  index: ReadonlyMap<number, number>;
}

/** The answer as the command line says it, and the figures that it is about. */
export function Answer({ details, index }: Props) {
  const shown = details.trials.find((row) => row.number === (details.winner ?? details.best));
  const reference = details.trials.find((row) => row.number === details.default);
  return (
    <section className="answer" aria-label="Answer">
      <p className="sentence">{capitalized(details.headline)}</p>
      {details.summary.map((line) => (
        <p key={line} className="quiet">
          {capitalized(line)}
        </p>
      ))}
      {shown && (
        <ul className="cards">
          {details.goals.map((_, i) => (
            // Goals have no names; their order is that of the study.
            // biome-ignore lint/suspicious/noArrayIndexKey: see above
            <Card key={i} i={i} details={details} row={shown} reference={reference} index={index} />
          ))}
        </ul>
      )}
    </section>
  );
}

interface CardProps extends Props {
  i: number;
  row: TrialRow;
  reference: TrialRow | undefined;
}

function Card({ i, details, row, reference, index }: CardProps) {
  const goal = details.goals[i];
  const figure = row.goals[i];
  if (!goal || !figure) return null;
  const unit = metricOf(goal.metric).unit;
  const change = goal.objective === null ? null : row.changes[goal.objective];
  const base = reference && reference.number !== row.number ? reference.goals[i]?.value : undefined;
  const title = goal.objective === null ? goal.title : (details.objectives[goal.objective] ?? goal.title);
  const tone = change ? (isBetter(change.amount, goal.direction) ? "good" : "bad") : "";
  return (
    <li>
      <span className="quiet">
        {title} {goal.level}
      </span>
      <strong>
        <Figure
          path={figure.value === null ? "" : goalPath(row, goal, figure.value, index)}
          value={figure.value}
          unit={unit}
        />
        {change && (
          <data
            className={tone}
            value={change.amount}
            data-json={`trials.${index.get(row.number)}.changes.${goal.objective}.amount`}
          >
            {change.text}
          </data>
        )}
      </strong>
      <span className="quiet small">
        <Link to="/studies/$name/trials/$trial" params={{ name: details.name, trial: String(row.number) }}>
          trial {row.number}
        </Link>
        {goal.threshold !== null && (
          <span className={figure.missed ? "bad" : "good"}>
            {figure.missed ? "misses" : "meets"} {bound(goal.target)}
          </span>
        )}
        {base !== undefined && base !== null && reference && (
          <span>
            {details.reference}{" "}
            <Figure path={goalPath(reference, goal, base, index)} value={base} unit={unit} />
          </span>
        )}
      </span>
    </li>
  );
}

/** `≤ 400 ms` of `max, <= 400 ms`. */
function bound(target: string): string {
  return target
    .replace(/^(min|max), /, "")
    .replace("<=", "≤")
    .replace(">=", "≥");
}

function isBetter(amount: number, direction: "min" | "max"): boolean {
  return direction === "max" ? amount > 0 : amount < 0;
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
