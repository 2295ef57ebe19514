import { useState } from "react";
import type { StudyDetails, TrialRow } from "~/api/types";
import { CapacityLevels } from "~/components/CapacityLevels";

interface Props {
  details: StudyDetails;
  index: ReadonlyMap<number, number>;
}

/** What the capacity searches of a study found, one trial at a time; nothing for other studies. */
export function CapacityPanel({ details, index }: Props) {
  const rows = details.trials.filter((row) => row.capacities.length > 0);
  const [chosen, setChosen] = useState<number | null>(null);
  const first = details.winner ?? details.best ?? details.default;
  const row =
    rows.find((one) => one.number === chosen) ?? rows.find((one) => one.number === first) ?? rows[0];
  if (!row) return null;
  const title = (number: number) =>
    number === details.default ? `${details.reference} (trial ${number})` : `trial ${number}`;
  return (
    <section className="panel" aria-label="Certificate">
      <header>
        <h2>Certificate</h2>
        <div className="bar">
          <label>
            <span className="hidden">Levels of</span>
            <select value={row.number} onChange={(event) => setChosen(Number(event.target.value))}>
              {rows.map((one) => (
                <option key={one.number} value={one.number}>
                  {title(one.number)}
                </option>
              ))}
            </select>
          </label>
        </div>
      </header>
      <Searches row={row} index={index} of="" />
    </section>
  );
}

/** What the capacity searches of one trial found. */
export function CapacityOf({ details, index, row }: Props & { row: TrialRow }) {
  const name = row.number === details.default ? details.reference : `trial ${row.number}`;
  return (
    <section className="panel" aria-label={`Certificate of ${name}`}>
      <header>
        <h2>Certificate of {row.number === details.default ? `the ${name}` : name}</h2>
      </header>
      <Searches row={row} index={index} of={`of ${name}`} />
    </section>
  );
}

function Searches({ row, index, of }: { row: TrialRow; index: Props["index"]; of: string }) {
  return row.capacities.map((curve, i) => (
    <div key={curve.scenario}>
      {row.capacities.length > 1 && <h3 className="mono">{curve.scenario}</h3>}
      <CapacityLevels curve={curve} path={`trials.${index.get(row.number)}.capacities.${i}`} of={of} />
    </div>
  ));
}
