import type { TrialDetails } from "~/api/types";
import { Chance, Figure } from "~/components/Figure";
import { metricOf } from "~/format/metrics";
import { duration } from "~/format/time";
import { TrialLink } from "./Facts";

/** Why the search proposed the trial, and how its predictions compare with what was measured. */
export function Rationale({ details, name }: { details: TrialDetails; name: string }) {
  const why = details.trial.rationale;
  if (!why) return null;
  return (
    <section className="panel wide" aria-label="Why it was proposed">
      <header>
        <h2>Why it was proposed</h2>
        <span className="quiet small">as it was known before the launch, with 95% intervals</span>
      </header>
      <div className="body">
        <p>
          <Chance path="trial.rationale.feasible" value={why.feasible} /> likely to meet the SLOs,{" "}
          <Chance path="trial.rationale.starts" value={why.starts} /> likely to start
          {typeof why.beats === "number" && (
            <>
              , <Chance path="trial.rationale.improves" value={why.improves} /> likely to beat{" "}
              <TrialLink name={name} number={why.beats} />
            </>
          )}
          .{why.source && ` Before any measurement, by ${why.source}.`}
          {why.untried &&
            why.untried.length > 0 &&
            ` Proposed because no trial had tried this value of ${why.untried.join(", ")}, and nothing was likely to be much better.`}
          {why.reuse && (
            <>
              {" "}
              Preferred because it{" "}
              {why.reuse.running ? "only changes flags of the running server of" : "loads the same as"}{" "}
              <TrialLink name={name} number={why.reuse.trial} />: starts in{" "}
              <data value={why.reuse.launch_s} data-json="trial.rationale.reuse.launch_s">
                {duration(why.reuse.launch_s)}
              </data>
              , not{" "}
              <data value={why.reuse.other_launch_s} data-json="trial.rationale.reuse.other_launch_s">
                {duration(why.reuse.other_launch_s)}
              </data>
              .
            </>
          )}
          {why.recommended && ` Recommended by ${why.recommended}.`}
        </p>
      </div>
      {details.predictions.length > 0 && <Predictions details={details} />}
    </section>
  );
}

function Predictions({ details }: { details: TrialDetails }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
    <section className="scroll" tabIndex={0} aria-label="Predictions">
      <table>
        <thead>
          <tr>
            <th scope="col">Figure</th>
            <th scope="col">Level</th>
            <th scope="col" className="number">
              Predicted
            </th>
            <th scope="col" className="number">
              Interval
            </th>
            <th scope="col" className="number">
              Measured
            </th>
          </tr>
        </thead>
        <tbody>
          {details.predictions.map((one, i) => {
            const { expected } = one;
            const { unit, title } = metricOf(expected.metric);
            const path = `predictions.${i}`;
            return (
              <tr
                key={`${expected.metric} ${expected.statistic} ${expected.of} ${expected.scenario} ${expected.level}`}
              >
                <td>
                  {expected.statistic} {title}
                  {expected.of && ` of ${expected.of}`}
                </td>
                <td className="mono">
                  {expected.scenario} {expected.level}
                </td>
                <td className="number">
                  <Figure path={`${path}.expected.median`} value={expected.median} unit={unit} />
                </td>
                <td className="number quiet">
                  <Figure path={`${path}.expected.low`} value={expected.low} unit={unit} /> to{" "}
                  <Figure path={`${path}.expected.high`} value={expected.high} unit={unit} />
                </td>
                <td className={`number ${one.inside === false ? "doubtful" : ""}`}>
                  <Figure path={`${path}.measured`} value={one.measured} unit={unit} />
                  {one.inside === false && " outside"}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}
