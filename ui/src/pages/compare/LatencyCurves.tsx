import { useQueries } from "@tanstack/react-query";
import { useState } from "react";
import { latenciesQuery } from "~/api/queries";
import { metricOf } from "~/format/metrics";
import { bare } from "~/format/numbers";
import { Distribution, type DistributionLine } from "~/plots/Distribution";
import { LINEAR_UP_TO, tail } from "../trial/LatenciesPanel";
import type { CompareColumn, Place } from "./columns";

const MAIN: readonly string[] = ["ttft", "tpot", "e2e_latency"];

/** The distributions of latencies of all columns over each other. */
export function LatencyCurves({ columns, place }: { columns: readonly CompareColumn[]; place: Place }) {
  const [chosenLog, setLog] = useState<boolean | null>(null);
  const windows = columns.map((column) =>
    column.row.windows.findIndex((one) => one.scenario === place.scenario && one.level === place.level),
  );
  const read = useQueries({
    queries: columns.map((column, i) => ({
      ...latenciesQuery(column.details.name, column.row.number, `measurements.${windows[i]}`),
      enabled: (windows[i] ?? -1) >= 0,
    })),
  });
  const missing = columns.filter((_, i) => read[i]?.error || read[i]?.data?.missing || windows[i] === -1);
  const metrics = MAIN.filter((metric) =>
    read.some((one) => one.data?.latencies.some((latency) => latency.metric === metric)),
  );
  const log =
    chosenLog ??
    read.some((one) => one.data?.latencies.some((latency) => (tail(latency) ?? 0) > LINEAR_UP_TO));
  const waiting = read.some((one) => one.isLoading);
  if (metrics.length === 0 && !waiting) {
    return (
      <section className="panel" aria-label="Latencies">
        <header>
          <h2>Latencies</h2>
        </header>
        <p className="empty">The request records of these trials are not on this machine, or were deleted.</p>
      </section>
    );
  }
  return (
    <section className="panel" aria-label="Latencies">
      <header>
        <h2>Latencies</h2>
        <span className="quiet">{place.level}</span>
        <div className="bar">
          <label>
            <input type="checkbox" checked={log} onChange={(event) => setLog(event.target.checked)} />
            Logarithmic
          </label>
        </div>
      </header>
      <div className="body latencies" aria-busy={waiting}>
        {metrics.map((metric) => {
          const found = read.map((one) => one.data?.latencies.find((latency) => latency.metric === metric));
          const lines = columns.flatMap((column, i): DistributionLine[] => {
            const one = found[i];
            if (!one) return [];
            return [
              {
                id: column.id,
                name: column.title,
                kind: `series-${i % 8}`,
                values: one.values,
                shares: one.shares,
              },
            ];
          });
          const slos = found.find((one) => one !== undefined)?.slos ?? [];
          return (
            <figure key={metric}>
              <h3>{metricOf(metric).title}</h3>
              <Distribution
                title={`${metricOf(metric).title}, ms`}
                bins={null}
                lines={lines}
                marks={[]}
                bounds={slos.map((slo) => ({
                  value: slo.threshold,
                  text: `SLO${slo.statistic ? ` ${slo.statistic}` : ""}`,
                }))}
                log={log}
                axisText={(value) => bare("s", value)}
              />
            </figure>
          );
        })}
      </div>
      {missing.length > 0 && !waiting && (
        <p className="body small quiet">
          No request records on this machine, or not measured at this load:{" "}
          {missing.map((column) => column.title).join(", ")}.
        </p>
      )}
    </section>
  );
}
