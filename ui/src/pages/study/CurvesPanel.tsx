import { useMemo, useState } from "react";
import type { StudyDetails } from "~/api/types";
import { bare, plain, shownUnit, withUnit } from "~/format/numbers";
import { Curves } from "~/plots/Curves";
import { boundOf, type CurveSet, curveSets, suggested } from "./curves";

/** Throughput and latency over the load; nothing for studies of a single load. */
export function CurvesPanel({ details }: { details: StudyDetails }) {
  const sets = useMemo(() => curveSets(details), [details]);
  return sets.map((set) => (
    <SetPanel key={set.scenario} details={details} set={set} several={sets.length > 1} />
  ));
}

function SetPanel({ details, set, several }: { details: StudyDetails; set: CurveSet; several: boolean }) {
  const proposed = suggested(details, set.figures);
  const [chosen, setChosen] = useState<readonly (string | undefined)[]>([]);
  const shown = [0, 1].map((i) => chosen[i] ?? proposed[i]).filter((figure) => figure !== undefined);
  return (
    <section className="panel" aria-label={`Figures over the load${several ? ` of ${set.scenario}` : ""}`}>
      <header>
        <h2>{set.searched ? "Capacity" : "Load"}</h2>
        {several && <span className="quiet mono">{set.scenario}</span>}
        <div className="bar">
          {shown.map((figure, i) => (
            <select
              key={i === 0 ? "upper" : "lower"}
              aria-label={i === 0 ? "Upper figure" : "Lower figure"}
              value={figure}
              onChange={(event) => setChosen(shown.map((one, j) => (i === j ? event.target.value : one)))}
            >
              {set.figures.map((one) => (
                <option key={one} value={one}>
                  {details.figures[one]?.title}
                </option>
              ))}
            </select>
          ))}
        </div>
      </header>
      <div className="body">
        {shown.map((figure, i) => (
          <One key={i === 0 ? "upper" : "lower"} details={details} set={set} figure={figure} />
        ))}
        <ul className="legend">
          <li>
            <span className="line default" /> {details.reference}
          </li>
          <li>
            <span className="line best" /> {details.proven ? "winner" : "best"}
          </li>
          <li>
            <span className="line" /> other trials
          </li>
          {set.searched && <Verdicts />}
        </ul>
      </div>
    </section>
  );
}

/** What the forms of levels mean. */
function Verdicts() {
  return ["certified", "refuted", "open"].map((verdict) => (
    <li key={verdict}>
      <svg viewBox="0 0 14 14" aria-hidden="true">
        <g className="curve">
          <circle className={verdict} cx={7} cy={7} r={3.5} />
        </g>
      </svg>
      {verdict}
    </li>
  ));
}

function One({ details, set, figure }: { details: StudyDetails; set: CurveSet; figure: string }) {
  const curves = useMemo(() => set.curves(figure), [set, figure]);
  const kind = details.figures[figure];
  if (!kind) return null;
  const bound = boundOf(details, figure);
  const unit = shownUnit(kind.unit);
  return (
    <Curves
      curves={curves}
      xTitle={set.loadUnit}
      yTitle={unit ? `${kind.title}, ${unit}` : kind.title}
      bound={bound === null ? null : { value: bound, text: "SLO" }}
      loads={set.loads}
      xText={plain}
      text={(value) => withUnit(kind.unit, value)}
      axisText={(value) => bare(kind.unit, value)}
      height={175}
    />
  );
}
