import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { historyQuery } from "~/api/queries";
import type { TrialDetails } from "~/api/types";
import { plain } from "~/format/numbers";
import { OverTime, PhaseLegend } from "~/plots/OverTime";

/** What the server and its GPUs reported over the trial, with its phases. */
export function HistoryPanel({ details, name }: { details: TrialDetails; name: string }) {
  const { data } = useQuery(historyQuery(name, details.trial.number));
  const [cursor, setCursor] = useState<number | null>(null);
  if (!data || data.charts.length === 0) return null;
  const phases = data.phases.map((span) => ({
    phase: span.phase,
    name: [span.phase, span.level].filter(Boolean).join(" "),
    begin: span.begin,
    end: span.end,
  }));
  const here = cursor === null ? undefined : phases.find((span) => cursor >= span.begin && cursor < span.end);
  return (
    <section className="panel" aria-label="Over time">
      <header>
        <h2>Over time</h2>
        <span className="quiet">
          {cursor === null ? "server and GPUs, as sampled" : `${cursor.toFixed(1)} s: ${here?.name ?? "–"}`}
        </span>
      </header>
      <div className="body">
        <div className="over-times">
          {data.charts.map((chart) => (
            <OverTime
              key={chart.id}
              title={chart.title}
              unit={chart.unit}
              lines={chart.lines}
              phases={phases}
              length={data.length_s}
              cursor={cursor}
              onCursor={setCursor}
              text={plain}
            />
          ))}
        </div>
        <PhaseLegend phases={phases} />
      </div>
    </section>
  );
}
