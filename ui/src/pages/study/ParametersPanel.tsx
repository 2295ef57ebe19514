import { useMemo } from "react";
import type { StudyDetails } from "~/api/types";
import { Percent } from "~/components/Figure";
import { bare, shownUnit, withUnit } from "~/format/numbers";
import { Slice } from "~/plots/Slice";
import { type Measure, markKind } from "./measures";
import { useStudyPage } from "./useStudyPage";
import { parameterAxis, searchRows } from "./valueAxis";

interface Props {
  details: StudyDetails;
  measures: readonly Measure[];
}

/** How much each parameter matters, and a figure over the values of one of them. */
export function ParametersPanel({ details, measures }: Props) {
  const { search, change } = useStudyPage();
  const names = useMemo(() => orderedParameters(details), [details]);
  const name = names.find((one) => one === search.param) ?? names[0];
  const measure = measures.find((one) => one.id === search.of) ?? measures[0];
  if (name === undefined || !measure) return null;
  return (
    <section className="panel" aria-label="Parameters">
      <header>
        <h2>Parameters</h2>
        <div className="bar">
          <label>
            y
            <select value={measure.id} onChange={(event) => change({ of: event.target.value })}>
              {measures.map((one) => (
                <option key={one.id} value={one.id}>
                  {one.title}
                </option>
              ))}
            </select>
          </label>
          <label>
            x
            <select value={name} onChange={(event) => change({ param: event.target.value })}>
              {names.map((one) => (
                <option key={one}>{one}</option>
              ))}
            </select>
          </label>
        </div>
      </header>
      <div className="body">
        <ParameterSlice details={details} measure={measure} name={name} />
        <Importance details={details} name={name} onChoose={(param) => change({ param })} />
      </div>
    </section>
  );
}

/** A figure over the values of one parameter. */
export function ParameterSlice({
  details,
  measure,
  name,
}: {
  details: StudyDetails;
  measure: Measure;
  name: string;
}) {
  const { picked, pick, open } = useStudyPage();
  const { points, axis } = useMemo(() => {
    const rows = searchRows(details);
    const axis = parameterAxis(name, rows);
    const points = rows.flatMap((row) => {
      const value = measure.of(row);
      const at = axis.of(row);
      if (!value || at === null) return [];
      return [{ id: String(row.number), at, value: value.value, kind: markKind(row, details) }];
    });
    return { points, axis };
  }, [details, measure, name]);
  const reference = points.find((point) => Number(point.id) === details.default);
  const unit = shownUnit(measure.unit);
  return (
    <Slice
      points={points}
      ticks={axis.ticks}
      discrete={axis.discrete}
      xTitle={name}
      yTitle={unit && !measure.title.includes(unit) ? `${measure.title}, ${unit}` : measure.title}
      reference={reference ? { value: reference.value, text: details.reference } : null}
      bound={measure.threshold === null ? null : { value: measure.threshold, text: "SLO" }}
      text={(value) => withUnit(measure.unit, value)}
      axisText={(value) => bare(measure.unit, value)}
      picked={picked}
      onPick={pick}
      onOpen={open}
    />
  );
}

function Importance({
  details,
  name,
  onChoose,
}: {
  details: StudyDetails;
  name: string;
  onChoose: (name: string) => void;
}) {
  if (details.importance.length === 0) {
    return (
      <p className="quiet small">
        {details.running
          ? "What matters is computed when the study ends."
          : "No importance of the parameters is stored with this study."}
      </p>
    );
  }
  return (
    <>
      <p className="small quiet">What matters: share of the variance, by a model of all measured trials</p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
      <section className="scroll importance" tabIndex={0} aria-label="Importance">
        <table>
          <thead>
            <tr>
              <th scope="col">Parameter</th>
              <th scope="col">{details.objectives[0]}</th>
              <th scope="col" className="number">
                with interactions
              </th>
              <th scope="col">feasibility</th>
            </tr>
          </thead>
          <tbody>
            {details.importance.map((one, i) => (
              <tr key={one.parameter} className={one.parameter === name ? "lit" : ""}>
                <th scope="row">
                  <button
                    type="button"
                    className="plain mono"
                    aria-pressed={one.parameter === name}
                    onClick={() => onChoose(one.parameter)}
                  >
                    {one.parameter}
                  </button>
                </th>
                <td>
                  <Bar share={one.objective.alone} path={`importance.${i}.objective.alone`} />
                </td>
                <td className="number quiet">
                  <Percent
                    path={`importance.${i}.objective.total`}
                    value={one.objective.total}
                    sign={false}
                  />
                </td>
                <td>
                  <Bar share={one.feasible.total} path={`importance.${i}.feasible.total`} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </>
  );
}

function Bar({ share, path }: { share: number; path: string }) {
  return (
    <span className="share">
      <svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
        <rect width={share * 100} height="6" />
      </svg>
      <Percent path={path} value={share} sign={false} />
    </span>
  );
}

/** Parameters in the order of their importance, as far as it is known. */
export function orderedParameters(details: StudyDetails): string[] {
  const known = details.importance.map((one) => one.parameter);
  return [...known, ...details.parameters.filter((name) => !known.includes(name))];
}
