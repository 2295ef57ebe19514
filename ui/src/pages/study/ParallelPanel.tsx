import { useEffect, useMemo, useRef, useState } from "react";
import type { StudyDetails } from "~/api/types";
import { shownUnit } from "~/format/numbers";
import { Parallel, type ParallelAxis, type ParallelLine, type Range } from "~/plots/Parallel";
import { KindLegend } from "./KindLegend";
import { type Measure, markKind } from "./measures";
import { differing } from "./trialColumns";
import { useStudyPage } from "./useStudyPage";
import { measureAxis, parameterAxis, searchRows, type ValueAxis } from "./valueAxis";

interface Props {
  details: StudyDetails;
  measures: readonly Measure[];
}

const ARROWS = { max: "better ↑", min: "better ↓" } as const;
/** Parameters that are shown unless others are chosen; the most important ones. */
const MOST_PARAMETERS = 7;

/** All trials across their parameters and figures; ranges on the axes pick trials. */
export function ParallelPanel({ details, measures }: Props) {
  const { search, change, picked, pick, open } = useStudyPage();
  const rows = useMemo(() => searchRows(details), [details]);
  const chosen = useMemo(() => chosenAxes(details, measures, search.axes), [details, measures, search.axes]);
  const axes = useMemo(() => chosen.map((id) => axisOf(id, details, measures)), [chosen, details, measures]);
  const lines = useMemo(
    () =>
      rows.map(
        (row): ParallelLine => ({
          id: String(row.number),
          kind: markKind(row, details),
          places: axes.map((axis) => axis.values.of(row)),
        }),
      ),
    [rows, details, axes],
  );
  const [ranges, setRanges] = useState<ReadonlyMap<string, Range>>(new Map());
  const own = useRef("");
  // Another plot picked other trials, or the selection was cleared: the ranges no longer say what is picked.
  useEffect(() => {
    if ((search.pick ?? "") !== own.current) setRanges(new Map());
  }, [search.pick]);
  const drawn = lines.filter((line) => line.places.filter((at) => at !== null).length > 1);
  if (drawn.length < 2 || axes.length < 2) return null;
  const onRange = (axis: string, range: Range | null) => {
    const next = new Map(ranges);
    if (range) next.set(axis, range);
    else next.delete(axis);
    const ids = within(lines, chosen, next);
    if (next.size > 0 && ids.length === 0) return; // a selection of no trial would mean that all are shown
    const text = next.size === 0 ? "" : ids.join(".");
    own.current = text;
    setRanges(next);
    pick(next.size === 0 ? [] : ids);
  };
  const outcome = new Map(rows.map((row) => [String(row.number), row]));
  return (
    <section className="panel" aria-label="Parallel coordinates">
      <header>
        <h2>Parallel coordinates</h2>
        <span className="quiet small hint">
          drag along an axis, or focus it and use the arrow keys, to pick trials
        </span>
        <span className="grow" />
        <AxisMenu
          details={details}
          measures={measures}
          chosen={chosen}
          onChange={(axes) => change({ axes })}
        />
      </header>
      <div className="body">
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
        <section className="scroll" tabIndex={0} aria-label="Axes">
          <Parallel
            axes={axes}
            lines={lines}
            ranges={ranges}
            onRange={onRange}
            picked={picked}
            onOpen={open}
            describe={(id) => {
              const row = outcome.get(id);
              return row ? `trial ${id}: ${row.outcome}` : "";
            }}
          />
        </section>
        <KindLegend kinds={lines.map((line) => line.kind)} details={details} />
      </div>
    </section>
  );
}

interface MenuProps extends Props {
  chosen: readonly string[];
  onChange: (axes: string) => void;
}

function AxisMenu({ details, measures, chosen, onChange }: MenuProps) {
  const toggle = (id: string, on: boolean) => {
    const next = on ? [...chosen, id] : chosen.filter((one) => one !== id);
    if (next.length >= 2) onChange(next.join("|"));
  };
  const box = (id: string, title: string) => (
    <label key={id}>
      <input
        type="checkbox"
        checked={chosen.includes(id)}
        disabled={chosen.length <= 2 && chosen.includes(id)}
        onChange={(event) => toggle(id, event.target.checked)}
      />
      {title}
    </label>
  );
  return (
    <details className="menu" name="menu">
      <summary>Axes</summary>
      <div className="menu-body choices">
        {details.parameters.map((name) => box(`set-${name}`, name))}
        {measures.map((measure) => box(measure.id, measure.title))}
      </div>
    </details>
  );
}

/** Ids of the axes: those that the address names, else the parameters that differ and the goals. */
function chosenAxes(
  details: StudyDetails,
  measures: readonly Measure[],
  asked: string | undefined,
): string[] {
  const known = new Set([
    ...details.parameters.map((name) => `set-${name}`),
    ...measures.map((measure) => measure.id),
  ]);
  const named = asked?.split("|").filter((id) => known.has(id)) ?? [];
  if (named.length >= 2) return named;
  const varied = differing(details.parameters, details.trials);
  const rank = new Map(details.importance.map((one, i) => [one.parameter, i]));
  const first = [...varied]
    .sort((a, b) => (rank.get(a) ?? varied.length) - (rank.get(b) ?? varied.length))
    .slice(0, MOST_PARAMETERS);
  return [
    ...varied.filter((name) => first.includes(name)).map((name) => `set-${name}`),
    ...measures.filter((measure) => measure.id.startsWith("goal-")).map((measure) => measure.id),
  ];
}

function axisOf(
  id: string,
  details: StudyDetails,
  measures: readonly Measure[],
): ParallelAxis & { values: ValueAxis } {
  const rows = searchRows(details);
  const measure = measures.find((one) => one.id === id);
  if (!measure) {
    const name = id.slice("set-".length);
    const values = parameterAxis(name, rows);
    return { id, title: name, note: "", ticks: values.ticks, discrete: values.discrete, values };
  }
  const values = measureAxis(measure, rows);
  const unit = shownUnit(measure.unit);
  const title = unit && !measure.title.includes(unit) ? `${measure.title}, ${unit}` : measure.title;
  return { id, title, note: ARROWS[measure.better], ticks: values.ticks, discrete: false, values };
}

/** Lines that are within all ranges. */
function within(
  lines: readonly ParallelLine[],
  axes: readonly string[],
  ranges: ReadonlyMap<string, Range>,
): string[] {
  return lines
    .filter((line) =>
      [...ranges].every(([id, [low, high]]) => {
        const at = line.places[axes.indexOf(id)];
        return at === undefined || at === null ? axes.indexOf(id) < 0 : at >= low - 1e-9 && at <= high + 1e-9;
      }),
    )
    .map((line) => line.id);
}
