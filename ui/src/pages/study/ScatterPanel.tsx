import { useMemo } from "react";
import type { StudyDetails } from "~/api/types";
import { bare, shownUnit, withUnit } from "~/format/numbers";
import { Scatter, type ScatterAxis } from "~/plots/Scatter";
import { KindLegend } from "./KindLegend";
import { front, type Measure, markKind } from "./measures";
import { useStudyPage } from "./useStudyPage";

interface Props {
  details: StudyDetails;
  measures: readonly Measure[];
}

/** Any two figures of the trials, with the front of those that count. */
export function ScatterPanel({ details, measures }: Props) {
  const { search, change, picked, pick, open } = useStudyPage();
  const y = measures.find((one) => one.id === search.y) ?? measures[0];
  const x = measures.find((one) => one.id === search.x) ?? measures.find((one) => one.id !== y?.id);
  const { points, best } = useMemo(() => {
    if (!x || !y) return { points: [], best: [] };
    const found = details.trials.flatMap((row) => {
      const a = x.of(row);
      const b = y.of(row);
      if (row.repeat_of !== null || !a || !b) return [];
      return [
        {
          id: String(row.number),
          x: a.value,
          y: b.value,
          kind: markKind(row, details),
          counts: row.rank !== null,
        },
      ];
    });
    return {
      points: found,
      best: front(
        found.filter((point) => point.counts),
        x.better,
        y.better,
      ),
    };
  }, [details, x, y]);
  if (!x || !y) return null;
  return (
    <section className="panel" aria-label="Two figures">
      <header>
        <h2>Trade-off</h2>
        <div className="bar">
          <Select label="y" value={y.id} measures={measures} onChange={(id) => change({ y: id })} />
          <Select label="x" value={x.id} measures={measures} onChange={(id) => change({ x: id })} />
        </div>
      </header>
      <div className="body">
        <Scatter
          points={points}
          front={best}
          x={axis(x)}
          y={axis(y)}
          picked={picked}
          onPick={pick}
          onOpen={open}
        />
        <KindLegend kinds={points.map((point) => point.kind)} details={details}>
          <li>
            <span className="line best" /> front of ranked trials
          </li>
        </KindLegend>
      </div>
    </section>
  );
}

function axis(measure: Measure): ScatterAxis {
  const unit = shownUnit(measure.unit);
  return {
    title: unit && !measure.title.includes(unit) ? `${measure.title}, ${unit}` : measure.title,
    better: measure.better,
    bound: measure.threshold === null ? null : { value: measure.threshold, text: "SLO" },
    text: (value) => withUnit(measure.unit, value),
    axisText: (value) => bare(measure.unit, value),
  };
}

interface SelectProps {
  label: string;
  value: string;
  measures: readonly Measure[];
  onChange: (id: string) => void;
}

function Select({ label, value, measures, onChange }: SelectProps) {
  return (
    <label>
      {label}
      <select value={value} onChange={(event) => onChange(event.target.value)}>
        {measures.map((measure) => (
          <option key={measure.id} value={measure.id}>
            {measure.title}
          </option>
        ))}
      </select>
    </label>
  );
}
