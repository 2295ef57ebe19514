import { type Live, unfinished } from "~/api/live";
import type { StudyDetails } from "~/api/types";
import { useNow } from "~/components/useNow";
import { Timeline, type TimelineBar } from "~/plots/Timeline";
import { useStudyPage } from "./useStudyPage";

/** When each trial ran, and in which phases. */
export function TimelinePanel({ details, live }: { details: StudyDetails; live: Live }) {
  const { open } = useStudyPage();
  const now = useNow(details.running);
  const bars = details.trials.flatMap((row): TimelineBar[] => {
    const running = unfinished(row) && live.running.has(row.number);
    const end = row.finished_at ?? (running ? now : null);
    if (row.started_at === null || end === null) return [];
    return [
      {
        id: String(row.number),
        start: row.started_at,
        end: Math.max(end, row.started_at),
        phases: row.phases,
        name:
          row.repeat_of === null ? `trial ${row.number}` : `trial ${row.number}, repeat of ${row.repeat_of}`,
        running,
      },
    ];
  });
  if (bars.length === 0) return null;
  return (
    <section className="panel" aria-label="Timeline">
      <header>
        <h2>Timeline</h2>
        <span className="quiet small">time with trials running; numbers are those of trials</span>
      </header>
      <div className="body">
        <Timeline bars={bars} onOpen={open} />
      </div>
    </section>
  );
}
