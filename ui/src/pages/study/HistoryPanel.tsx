import { useMemo } from "react";
import type { StudyDetails } from "~/api/types";
import { bare, shownUnit, withUnit } from "~/format/numbers";
import { History, type HistoryPoint } from "~/plots/History";
import { KindLegend } from "./KindLegend";
import { bestSoFar, type Measure, markKind } from "./measures";
import { useStudyPage } from "./useStudyPage";

interface Props {
  details: StudyDetails;
  measures: readonly Measure[];
}

/** The first objective over the study. */
export function HistoryPanel({ details, measures }: Props) {
  const { picked, pick, open } = useStudyPage();
  const measure = measures.find((one) => one.id === "goal-0");
  const { points, best } = useMemo(() => series(details, measure), [details, measure]);
  if (!measure) return null;
  const reference = points.find((point) => Number(point.id) === details.default);
  const unit = shownUnit(measure.unit);
  const title = details.objectives[0] ?? measure.title;
  return (
    <section className="panel" aria-label="History">
      <header>
        <h2>History</h2>
        <span className="quiet small hint">drag to pick trials, click to open one</span>
      </header>
      <div className="body">
        <History
          points={points}
          best={best}
          reference={reference ? { value: reference.value, text: details.reference } : null}
          bound={measure.threshold === null ? null : { value: measure.threshold, text: "SLO" }}
          title={unit ? `${title}, ${unit}` : title}
          text={(value) => withUnit(measure.unit, value)}
          axisText={(value) => bare(measure.unit, value)}
          picked={picked}
          onPick={pick}
          onOpen={open}
        />
        <KindLegend kinds={points.map((point) => point.kind)} details={details}>
          <li>
            <span className="line so-far" /> best so far
          </li>
        </KindLegend>
      </div>
    </section>
  );
}

function series(details: StudyDetails, measure: Measure | undefined) {
  const points: (HistoryPoint & { counts: boolean })[] = [];
  for (const row of details.trials) {
    const found = row.repeat_of === null && measure ? measure.of(row) : null;
    if (!found) continue;
    const counts = row.rank !== null;
    points.push({
      id: String(row.number),
      order: row.number,
      value: found.value,
      kind: markKind(row, details),
      counts,
    });
  }
  return { points, best: measure ? bestSoFar(points, measure.better) : [] };
}
