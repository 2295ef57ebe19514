import { useState } from "react";
import type { StudyDetails } from "~/api/types";
import { Badge } from "~/components/Badge";
import { Figure } from "~/components/Figure";
import { percent } from "~/format/numbers";
import { type CompareColumn, figureAt, type Place } from "./columns";
import { Heads } from "./Heads";

interface Props {
  columns: readonly CompareColumn[];
  places: readonly Place[];
  place: Place;
  onPlace: (id: string) => void;
}

/** Figures that are shown unless all are asked for, besides those of goals. */
const USUAL: readonly string[] = [
  "output_throughput",
  "output_throughput_per_gpu",
  "request_throughput",
  "document_throughput",
  "goodput",
  "p50 ttft",
  "p99 ttft",
  "p50 tpot",
  "p99 tpot",
  "p50 e2e_latency",
  "p99 e2e_latency",
  "success_rate",
  "energy_per_token",
  "cost_per_million_output_tokens",
  "capacity",
];

/** SLOs and figures of each column at one load, with the difference from the first column. */
export function FiguresPanel({ columns, places, place, onPlace }: Props) {
  const [all, setAll] = useState(false);
  const figures = figuresOf(columns, place, all);
  const scenarios = new Set(places.map((one) => one.scenario));
  const noise = columns[0]?.details.noise ?? 0;
  return (
    <section className="panel" aria-label="Figures">
      <header>
        <h2>Figures</h2>
        <div className="bar">
          <select aria-label="Load" value={place.id} onChange={(event) => onPlace(event.target.value)}>
            {places.map((one) => (
              <option key={one.id} value={one.id}>
                {scenarios.size > 1 ? `${one.level}, ${one.scenario}` : one.level}
              </option>
            ))}
          </select>
          <label>
            <input type="checkbox" checked={all} onChange={(event) => setAll(event.target.checked)} />
            All figures
          </label>
        </div>
      </header>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
      <section className="scroll" tabIndex={0} aria-label="Figures side by side">
        <table className="compare">
          <Heads first="Figure" columns={columns} />
          <tbody>
            <SloRows columns={columns} />
            {figures.map((figure) => (
              <FigureRow key={figure} figure={figure} columns={columns} place={place} />
            ))}
          </tbody>
        </table>
      </section>
      <p className="body small quiet">
        Differences from the first column, each of one launch
        {noise > 0 && `; launches of the same configuration vary by about ${percent(noise, false)}`}. What the
        proof shows is on the page of the study.
      </p>
    </section>
  );
}

function FigureRow({
  figure,
  columns,
  place,
}: {
  figure: string;
  columns: readonly CompareColumn[];
  place: Place;
}) {
  const kind = kindOf(columns, figure);
  const cells = columns.map((column) => figureAt(column, place, figure));
  const base = cells[0]?.value;
  return (
    <tr>
      <th scope="row">{kind?.title ?? figure}</th>
      {cells.map((cell, i) => (
        <td key={columns[i]?.id} className="number">
          <Figure path={cell?.path ?? ""} value={cell?.value} {...(kind ? { unit: kind.unit } : {})} />
          {i > 0 && cell && base !== undefined && base !== 0 && (
            <Difference ratio={cell.value / base - 1} better={kind?.better ?? "max"} />
          )}
        </td>
      ))}
    </tr>
  );
}

function Difference({ ratio, better }: { ratio: number; better: "min" | "max" }) {
  const tone = ratio === 0 ? "quiet" : ratio > 0 === (better === "max") ? "good" : "bad";
  return <span className={`small difference ${tone}`}>{percent(ratio)}</span>;
}

function SloRows({ columns }: { columns: readonly CompareColumn[] }) {
  const texts = new Set(columns.flatMap((column) => column.full?.slos.map((one) => one.slo) ?? []));
  return [...texts].map((text) => (
    <tr key={text}>
      <th scope="row">{text.replace("<=", "≤").replace(">=", "≥")}</th>
      {columns.map((column) => {
        const found = column.full?.slos.find((one) => one.slo === text);
        return (
          <td key={column.id} className="number">
            {!found ? (
              <span className="quiet">–</span>
            ) : found.met === null ? (
              <Badge tone="doubtful">undecided</Badge>
            ) : (
              <Badge tone={found.met ? "good" : "bad"}>{found.met ? "met" : "missed"}</Badge>
            )}
          </td>
        );
      })}
    </tr>
  ));
}

function figuresOf(columns: readonly CompareColumn[], place: Place, all: boolean): string[] {
  const studies = [...new Set(columns.map((column) => column.details))];
  const known = new Set(studies.flatMap((study) => Object.keys(study.figures)));
  const goals = studies.flatMap((study) => study.goals.map((goal) => goal.figure));
  const wanted = all ? [...goals, ...known] : [...goals, ...USUAL];
  return [...new Set(wanted)].filter(
    (figure) => known.has(figure) && columns.some((column) => figureAt(column, place, figure)),
  );
}

function kindOf(
  columns: readonly CompareColumn[],
  figure: string,
): StudyDetails["figures"][string] | undefined {
  return columns.map((column) => column.details.figures[figure]).find((kind) => kind !== undefined);
}
