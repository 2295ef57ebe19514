import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { predictionsQuery } from "~/api/queries";
import type { StudyDetails, StudyPredictions } from "~/api/types";
import { bare, shownUnit, withUnit } from "~/format/numbers";
import { Predicted, type PredictedPoint } from "~/plots/Predicted";
import { KindLegend } from "./KindLegend";
import { markKind } from "./measures";
import { useStudyPage } from "./useStudyPage";

/** What the search predicted before each launch, against what was measured. */
export function PredictionsPanel({ details }: { details: StudyDetails }) {
  const { data, error } = useQuery(predictionsQuery(details.name));
  return (
    <section className="panel" aria-label="Predictions">
      {data ? (
        <Loaded details={details} data={data} />
      ) : (
        <>
          <header>
            <h2>Predictions</h2>
          </header>
          <p className="empty predictions">{error ? error.message : "Reading the predictions…"}</p>
        </>
      )}
    </section>
  );
}

function Loaded({ details, data }: { details: StudyDetails; data: StudyPredictions }) {
  const { picked, pick, open } = useStudyPage();
  const [chosen, setChosen] = useState(0);
  const figure = data.figures[chosen] ?? data.figures[0];
  const points = useMemo(() => {
    const rows = new Map(details.trials.map((row) => [row.number, row]));
    return data.trials.flatMap((one): PredictedPoint[] => {
      const row = rows.get(one.trial);
      if (one.figure !== chosen || one.measured === null || !row) return [];
      const { median, low, high, measured } = one;
      return [{ id: String(one.trial), median, low, high, measured, kind: markKind(row, details) }];
    });
  }, [details, data, chosen]);
  if (!figure) return null;
  const measured = data.trials.filter((one) => one.inside !== null);
  const inside = measured.filter((one) => one.inside).length;
  const unit = shownUnit(figure.unit);
  const scenarios = new Set(data.figures.map((one) => one.scenario));
  const name = (one: typeof figure) =>
    [one.title, one.level, scenarios.size > 1 ? one.scenario : ""].filter(Boolean).join(", ");
  return (
    <>
      <header>
        <h2>Predictions</h2>
        <span className="quiet printed">{name(figure)}</span>
        <div className="bar">
          <select
            aria-label="Predicted figure"
            value={chosen}
            onChange={(event) => setChosen(Number(event.target.value))}
          >
            {data.figures.map((one, i) => (
              <option key={name(one)} value={i}>
                {name(one)}
              </option>
            ))}
          </select>
        </div>
      </header>
      <div className="body">
        <Predicted
          points={points}
          title={unit && !figure.title.includes(unit) ? `${figure.title}, ${unit}` : figure.title}
          text={(value) => withUnit(figure.unit, value)}
          axisText={(value) => bare(figure.unit, value)}
          picked={picked}
          onPick={pick}
          onOpen={open}
        />
        <KindLegend kinds={points.map((point) => point.kind)} details={details}>
          <li>
            <span className="line" /> 95% interval
          </li>
        </KindLegend>
        <p className="small quiet">
          {inside} of {measured.length} measured values of all figures lie in their 95% intervals.
        </p>
      </div>
    </>
  );
}
