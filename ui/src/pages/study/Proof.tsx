import type { StudyDetails, TrialRow } from "~/api/types";
import { Figure, Percent } from "~/components/Figure";
import { metricOf } from "~/format/metrics";
import { bare, shownUnit } from "~/format/numbers";
import { Intervals } from "~/plots/Intervals";
import { Repeats } from "~/plots/Repeats";

interface Props {
  details: StudyDetails;
  index: ReadonlyMap<number, number>;
}

interface Side {
  row: TrialRow;
  name: string;
  kind: "default" | "best" | "other";
  repeats: readonly TrialRow[];
}

/** What the answer rests on: every repeat, and the interval of each gain. */
export function Proof({ details, index }: Props) {
  const sides = details.compared.flatMap((number): Side[] => {
    const row = details.trials.find((one) => one.number === number);
    if (!row) return [];
    const isDefault = number === details.default;
    return [
      {
        row,
        name: isDefault ? details.reference : `trial ${number}`,
        kind: isDefault ? "default" : number === (details.winner ?? details.best) ? "best" : "other",
        repeats: details.trials.filter((one) => one.repeat_of === number).sort((a, b) => a.number - b.number),
      },
    ];
  });
  return (
    <section className="panel" aria-label="Proof" id="proof">
      <header>
        <h2>Proof</h2>
        <span className="quiet small">
          interleaved repeats of the {details.reference} and its challengers
        </span>
      </header>
      <div className="body">
        <p className="verdict">{details.headline.charAt(0).toUpperCase() + details.headline.slice(1)}</p>
        {details.objectives.map((objective, i) => (
          <Objective
            key={objective}
            details={details}
            index={index}
            sides={sides}
            i={i}
            objective={objective}
          />
        ))}
      </div>
    </section>
  );
}

interface ObjectiveProps extends Props {
  sides: readonly Side[];
  i: number;
  objective: string;
}

function Objective({ details, index, sides, i, objective }: ObjectiveProps) {
  const goal = details.goals.find((one) => one.objective === i);
  const unit = metricOf(goal?.metric).unit;
  const better = goal?.direction ?? "max";
  const title = [objective, shownUnit(unit)].filter(Boolean).join(", ");
  const changes = sides.flatMap((side) => {
    const change = side.row.changes[i];
    return change && change.repeats > 0 && !change.absolute ? [{ side, change }] : [];
  });
  return (
    <div className="proof">
      <figure>
        <Repeats
          rows={sides.map((side) => ({
            id: side.name,
            name: side.name,
            kind: side.kind,
            values: side.repeats.map((row) => row.objectives[i]).filter((value) => typeof value === "number"),
          }))}
          title={title}
          axisText={(value) => bare(unit, value)}
        />
      </figure>
      <figure>
        <Intervals
          title={`change of ${objective}, ${(details.confidence * 100).toPrecision(2)}% intervals`}
          intervals={changes.map(({ side, change }) => ({
            id: side.name,
            name: side.name,
            amount: change.amount,
            low: change.low,
            high: change.high,
            good: change.effect === "better" ? true : change.effect === "worse" ? false : null,
          }))}
        />
      </figure>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
      <section className="scroll" tabIndex={0} aria-label={`Repeats, ${objective}`}>
        <RepeatTable details={details} index={index} sides={sides} i={i} unit={unit} better={better} />
      </section>
    </div>
  );
}

interface TableProps extends Props {
  sides: readonly Side[];
  i: number;
  unit: ReturnType<typeof metricOf>["unit"];
  better: "min" | "max";
}

function RepeatTable({ index, sides, i, unit }: TableProps) {
  const count = Math.max(0, ...sides.map((side) => side.repeats.length));
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">{shownUnit(unit)}</th>
          {sides.map((side) => (
            <th key={side.name} scope="col" className="number">
              {side.name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {Array.from({ length: count }, (_, k) => (
          // Repeats are told apart by their order.
          // biome-ignore lint/suspicious/noArrayIndexKey: see above
          <tr key={k}>
            <th scope="row">repeat {k + 1}</th>
            {sides.map((side) => (
              <td key={side.name} className="number">
                <RepeatCell row={side.repeats[k]} index={index} i={i} unit={unit} />
              </td>
            ))}
          </tr>
        ))}
        <tr className="total">
          <th scope="row">change</th>
          {sides.map((side) => (
            <td key={side.name} className="number">
              <ChangeCell row={side.row} index={index} i={i} />
            </td>
          ))}
        </tr>
      </tbody>
    </table>
  );
}

interface CellProps {
  row: TrialRow | undefined;
  index: ReadonlyMap<number, number>;
  i: number;
}

function RepeatCell({ row, index, i, unit }: CellProps & { unit: TableProps["unit"] }) {
  if (!row) return null;
  const value = row.objectives[i];
  if (value === undefined || value === null) return <span className="quiet">{row.outcome}</span>;
  return (
    <>
      {row.tone === "bad" && <span className="bad small">{row.outcome} </span>}
      <Figure
        path={`trials.${index.get(row.number)}.verdict.objectives.${i}`}
        value={value}
        unit={unit}
        short
      />
    </>
  );
}

function ChangeCell({ row, index, i }: CellProps & { row: TrialRow }) {
  const change = row.changes[i];
  if (!change || change.repeats === 0) return <span className="quiet">–</span>;
  const path = `trials.${index.get(row.number)}.changes.${i}`;
  return (
    <>
      <data value={change.amount} data-json={`${path}.amount`}>
        {change.text}
      </data>
      {change.low !== null && change.high !== null && !change.absolute && (
        <span className="quiet small interval-text">
          <Percent path={`${path}.low`} value={change.low} /> to{" "}
          <Percent path={`${path}.high`} value={change.high} />
        </span>
      )}
    </>
  );
}
