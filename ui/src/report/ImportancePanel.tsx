import type { StudyDetails, StudyEvidence } from "~/api/types";
import type { Measure } from "~/pages/study/measures";
import { orderedParameters, ParameterSlice } from "~/pages/study/ParametersPanel";
import { TextTable } from "./TablePanel";

/** Plots of parameters; further ones are in the table only. */
const MOST_SLICES = 8;

interface Props {
  details: StudyDetails;
  measure: Measure;
  table: StudyEvidence["parameters"];
}

/** How much each parameter matters, and the first objective over the values of the most important ones. */
export function ImportancePanel({ details, measure, table }: Props) {
  const names = orderedParameters(details);
  return (
    <section className="panel" aria-label="Parameters">
      <header>
        <h2>Parameters</h2>
        <span className="quiet small">{measure.title} over the values of each</span>
      </header>
      <div className="body slices">
        {names.slice(0, MOST_SLICES).map((name) => (
          <ParameterSlice key={name} details={details} measure={measure} name={name} />
        ))}
      </div>
      {names.length > MOST_SLICES && (
        <p className="body small quiet">
          Plots show the first {MOST_SLICES} of {names.length} parameters.
        </p>
      )}
      {table ? <TextTable table={table} /> : null}
    </section>
  );
}
