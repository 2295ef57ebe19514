import type { Measurement, TrialDetails } from "~/api/types";
import { Figure } from "~/components/Figure";
import { levelText } from "~/format/levels";
import { metricOf } from "~/format/metrics";
import { shownUnit } from "~/format/numbers";

const STATISTICS = ["mean", "std", "min", "p50", "p75", "p90", "p95", "p99", "p99_9", "max"] as const;

/** Everything that was measured: one panel per window. */
export function Windows({ details }: { details: TrialDetails }) {
  const { looks, measurements } = details.trial;
  if (measurements.length + looks.length === 0) return null;
  return (
    <>
      {looks.map((one, i) => (
        <Window
          key={`look ${levelText(one.level)} ${one.scenario}`}
          measured={one}
          path={`trial.looks.${i}`}
          details={details}
          short
        />
      ))}
      {measurements.map((one, i) => (
        <Window
          key={`${levelText(one.level)} ${one.scenario}`}
          measured={one}
          path={`trial.measurements.${i}`}
          details={details}
        />
      ))}
    </>
  );
}

interface Props {
  measured: Measurement;
  path: string;
  details: TrialDetails;
  short?: boolean;
}

function Window({ measured, path, details, short = false }: Props) {
  const level = levelText(measured.level);
  const sentences = details.diagnosis.find(
    (one) => one.scenario === measured.scenario && one.level === level,
  )?.sentences;
  const doubts = [
    ...(measured.undecided ? [measured.undecided] : []),
    ...(measured.overloaded ? ["overloaded: requests arrived faster than the server answered"] : []),
    ...(measured.steady ? [] : ["not steady"]),
    ...measured.thin,
    ...measured.warnings,
    ...measured.self_check.reasons,
    ...measured.set_aside.map((one) => `measured again: ${one.why}`),
  ];
  return (
    <section
      className="panel"
      aria-label={`Measurements at ${level}${short ? " in the short window" : ""}, ${measured.scenario}`}
    >
      <header>
        <h2>
          {level}
          {short && " (short window)"}
        </h2>
        <span className="mono quiet">{measured.scenario}</span>
        <span className="quiet">
          <Figure path={`${path}.requests`} value={measured.requests} /> requests
          {measured.failed > 0 && (
            <span className="bad">
              , <Figure path={`${path}.failed`} value={measured.failed} /> failed
            </span>
          )}{" "}
          in <Figure path={`${path}.window_s`} value={measured.window_s} /> s
        </span>
      </header>
      <Scalars measured={measured} path={path} />
      <Distributions
        measured={measured}
        path={path}
        label={`${level}${short ? " in the short window" : ""}, ${measured.scenario}`}
      />
      {(doubts.length > 0 ||
        (sentences && sentences.length > 0) ||
        Object.keys(measured.error_messages).length > 0) && (
        <ul className="body notes">
          {doubts.map((text) => (
            <li key={text} className="doubtful">
              {text}
            </li>
          ))}
          {Object.entries(measured.error_messages).map(([kind, text]) => (
            <li key={kind} className="bad">
              {kind}: {text}
            </li>
          ))}
          {sentences?.map((text) => (
            <li key={text}>{text}</li>
          ))}
        </ul>
      )}
    </section>
  );
}

function Scalars({ measured, path }: { measured: Measurement; path: string }) {
  return (
    <dl className="scalars">
      {Object.entries(measured.scalars).map(([metric, value]) => {
        const { title, unit } = metricOf(metric);
        return (
          <div key={metric}>
            <dt>{title}</dt>
            <dd>
              <Figure path={`${path}.scalars.${metric}`} value={value} unit={unit} />
            </dd>
          </div>
        );
      })}
    </dl>
  );
}

function Distributions({ measured, path, label }: { measured: Measurement; path: string; label: string }) {
  const known = Object.entries(measured.distributions);
  if (known.length === 0) return null;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
    <section className="scroll" tabIndex={0} aria-label={`Percentiles at ${label}`}>
      <table>
        <thead>
          <tr>
            <th scope="col">Metric</th>
            <th scope="col" className="number">
              values
            </th>
            {STATISTICS.map((statistic) => (
              <th key={statistic} scope="col" className="number">
                {statistic.replace("_", ".")}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {known.map(([metric, found]) => {
            const { title, unit } = metricOf(metric);
            return (
              <tr key={metric}>
                <th scope="row">
                  {title}, {shownUnit(unit)}
                </th>
                <td className="number quiet">
                  <Figure path={`${path}.distributions.${metric}.count`} value={found.count} />
                </td>
                {STATISTICS.map((statistic) => {
                  const unsure = found.too_few.includes(statistic.replace("_", "."));
                  return (
                    <td
                      key={statistic}
                      className={`number ${unsure ? "quiet" : ""}`}
                      title={unsure ? "too few requests for this percentile" : undefined}
                    >
                      {unsure && found[statistic] !== null && "~"}
                      <Figure
                        path={`${path}.distributions.${metric}.${statistic}`}
                        value={found[statistic]}
                        unit={unit}
                        short
                      />
                    </td>
                  );
                })}
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}
