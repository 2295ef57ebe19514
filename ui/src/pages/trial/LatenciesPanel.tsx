import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { latenciesQuery, studyQuery } from "~/api/queries";
import type { LatencyDistribution, StudyDetails, TrialDetails, WindowLatencies } from "~/api/types";
import { Figure } from "~/components/Figure";
import { metricOf } from "~/format/metrics";
import { bare } from "~/format/numbers";
import { Distribution, type DistributionLine } from "~/plots/Distribution";
import { trialSearch } from "./search";
import { type TrialWindow, trialWindows } from "./windows";

const MAIN: readonly string[] = ["ttft", "tpot", "e2e_latency"];
const MARKED = ["p50", "p90", "p99"] as const;
/** Largest ratio of maximum and median that a linear axis shows well. */
export const LINEAR_UP_TO = 6;

/** The latencies of the trial of this page; the address says of which window. */
export function LatenciesPanel({ details, name }: { details: TrialDetails; name: string }) {
  const { window } = trialSearch({ ...useSearch({ from: "/signed-in/studies/$name/trials/$trial" }) });
  const navigate = useNavigate();
  const choose = (window: string) =>
    navigate({
      to: "/studies/$name/trials/$trial",
      params: { name, trial: String(details.trial.number) },
      search: (before) => ({ ...before, window }),
      replace: true,
      resetScroll: false,
    });
  return <Latencies details={details} name={name} window={window} onWindow={choose} />;
}

interface Props {
  details: TrialDetails;
  name: string;
  /** Place of the window; unknown: the most important one. */
  window: string | undefined;
  onWindow: (window: string) => void;
  /** Where the JSON has the trial. */
  root?: string;
}

/** Histograms and distributions of the latencies of one window, from its request records. */
export function Latencies({ details, name, window, onWindow, root = "trial" }: Props) {
  const { number } = details.trial;
  const [all, setAll] = useState(false);
  const [log, setLog] = useState<boolean | null>(null);
  const windows = trialWindows(details);
  const shown = windows.find((one) => one.id === window) ?? windows.find((one) => one.main) ?? windows[0];
  const study = useQuery(studyQuery(name)).data;
  const base = study && shown ? baseWindow(study, number, shown) : null;
  const own = useQuery({ ...latenciesQuery(name, number, shown?.id ?? ""), enabled: shown !== undefined });
  const other = useQuery({
    ...latenciesQuery(name, base?.trial ?? 0, base?.window ?? ""),
    enabled: base !== null,
  });
  if (!shown) return null;
  const found = own.data;
  const chosen = found?.latencies.filter((one) => all || MAIN.includes(one.metric) || one.slos.length > 0);
  const isLog = log ?? found?.latencies.some((one) => (tail(one) ?? 0) > LINEAR_UP_TO) ?? false;
  return (
    <section className="panel" aria-label="Latencies">
      <header>
        <h2>Latencies</h2>
        <span className="quiet printed">{shown.title}</span>
        <div className="bar">
          <label>
            <span className="hidden">Window</span>
            <select value={shown.id} onChange={(event) => onWindow(event.target.value)}>
              {windows.map((one) => (
                <option key={one.id} value={one.id}>
                  {one.title}
                </option>
              ))}
            </select>
          </label>
          <label>
            <input type="checkbox" checked={isLog} onChange={(event) => setLog(event.target.checked)} />
            Logarithmic
          </label>
          {found?.latencies.some((one) => !MAIN.includes(one.metric)) && (
            <label>
              <input type="checkbox" checked={all} onChange={(event) => setAll(event.target.checked)} />
              All latencies
            </label>
          )}
        </div>
      </header>
      {own.error || found?.missing ? (
        <p className="empty">{own.error?.message ?? `There is nothing to draw: ${found?.missing}.`}</p>
      ) : (
        <div className="body latencies" aria-busy={!found}>
          {chosen?.map((one) => (
            <One
              key={one.metric}
              found={one}
              path={shown.path.replace(/^trial/, root)}
              base={other.data && base ? lineOf(other.data, one.metric, study?.reference ?? "default") : null}
              name={`trial ${number}`}
              log={isLog}
            />
          ))}
        </div>
      )}
      {found?.latencies.some((one) => !one.agrees) && (
        <p className="body doubtful">
          The request records give other figures than those of the measurement: the file was replaced.
        </p>
      )}
    </section>
  );
}

interface OneProps {
  found: LatencyDistribution;
  path: string;
  base: DistributionLine | null;
  name: string;
  log: boolean;
}

function One({ found, path, base, name, log }: OneProps) {
  const { statistics } = found;
  const { title } = metricOf(found.metric);
  const own = {
    id: "own",
    name,
    kind: base ? "best" : "own",
    values: found.values,
    shares: found.shares,
  };
  const marks = MARKED.flatMap((statistic) => {
    const value = statistics[statistic];
    if (value === null || statistics.too_few.includes(statistic)) return [];
    return [{ value, share: Number(statistic.slice(1)) / 100, text: statistic }];
  });
  return (
    <figure>
      <figcaption>
        <h3>{title}</h3>
        <ul className="legend">
          {base && (
            <>
              <li>
                <span className="line best" /> {name}
              </li>
              <li>
                <span className="line default" /> {base.name}
              </li>
            </>
          )}
        </ul>
      </figcaption>
      <Distribution
        title={`${title}, ms`}
        bins={log ? found.logarithmic : found.linear}
        lines={base ? [own, base] : [own]}
        marks={marks}
        bounds={found.slos.map((slo) => ({
          value: slo.threshold,
          text: `SLO${slo.statistic ? ` ${slo.statistic}` : ""}`,
        }))}
        log={log}
        axisText={(value) => bare("s", value)}
      />
      <p className="small percentiles">
        {[...MARKED, "max" as const].map((statistic) => (
          <span key={statistic}>
            <span className="quiet">{statistic}</span>{" "}
            <Figure
              path={`${path}.distributions.${found.metric}.${statistic}`}
              value={statistics[statistic]}
              unit="s"
            />
          </span>
        ))}
        {found.slos.map((slo) => (
          <span key={slo.text} className="quiet">
            SLO {slo.text.replace("<=", "≤")}
          </span>
        ))}
        {statistics.censored > 0 && (
          <span className="doubtful">
            <Figure path={`${path}.distributions.${found.metric}.censored`} value={statistics.censored} /> had
            not ended
          </span>
        )}
      </p>
    </figure>
  );
}

/** The same window of the trial that all others are compared with. */
function baseWindow(
  study: StudyDetails,
  number: number,
  shown: TrialWindow,
): { trial: number; window: string } | null {
  const [part, index] = shown.id.split(".");
  if (part !== "measurements" || study.default === null || study.default === number) return null;
  const own = study.trials.find((row) => row.number === number)?.windows[Number(index)];
  const base = study.trials.find((row) => row.number === study.default);
  const at =
    base?.windows.findIndex((one) => one.scenario === own?.scenario && one.level === own?.level) ?? -1;
  return own && base && at >= 0 ? { trial: base.number, window: `measurements.${at}` } : null;
}

function lineOf(found: WindowLatencies, metric: string, name: string): DistributionLine | null {
  const one = found.latencies.find((latency) => latency.metric === metric);
  return one ? { id: "base", name, kind: "default", values: one.values, shares: one.shares } : null;
}

/** How many times the median the slowest request took. */
export function tail(one: LatencyDistribution): number | null {
  const slowest = one.values.at(-1);
  const median = one.statistics.p50;
  return slowest !== undefined && median ? slowest / median : null;
}
