// Figures of trials that plots and tables can show: the goals of the study, then everything its windows measured.

import type { Direction, StudyDetails, TrialRow, Unit } from "~/api/types";
import { metricOf } from "~/format/metrics";
import type { MarkKind } from "~/plots/marks";

export interface Value {
  value: number;
  /** Where `show --json` has it. */
  path: string;
}

export interface Measure {
  id: string;
  title: string;
  unit: Unit;
  better: Direction;
  threshold: number | null;
  of: (row: TrialRow) => Value | null;
}

/** Position of each trial in the JSON, whose trials are ordered by number. */
export function jsonIndex(details: StudyDetails): ReadonlyMap<number, number> {
  const numbers = details.trials.map((row) => row.number).sort((a, b) => a - b);
  return new Map(numbers.map((number, index) => [number, index]));
}

/** All figures that at least one trial has. */
export function measures(details: StudyDetails, index: ReadonlyMap<number, number>): Measure[] {
  const found = [...goalMeasures(details, index), ...windowMeasures(details, index)];
  return found.filter((measure) => details.trials.some((row) => measure.of(row) !== null));
}

function goalMeasures(details: StudyDetails, index: ReadonlyMap<number, number>): Measure[] {
  return details.goals.map((goal, i) => ({
    id: `goal-${i}`,
    title: `${goal.title} ${goal.level}`,
    unit: metricOf(goal.metric).unit,
    better: goal.direction,
    threshold: goal.threshold,
    of: (row) => {
      const value = row.goals[i]?.value;
      if (value === null || value === undefined) return null;
      return { value, path: goalPath(row, goal, value, index) };
    },
  }));
}

type Goal = StudyDetails["goals"][number];

/** The JSON has a goal's value as an objective of the verdict; that of an SLO is the worst of its windows. */
export function goalPath(
  row: TrialRow,
  goal: Goal,
  value: number,
  index: ReadonlyMap<number, number>,
): string {
  const trial = `trials.${index.get(row.number)}`;
  if (goal.objective !== null) return `${trial}.verdict.objectives.${goal.objective}`;
  const window = row.windows.findIndex((one) => one.values[goal.figure] === value);
  return window < 0 ? "" : `${trial}.measurements.${window}.${figurePath(goal.figure)}`;
}

/** `p99 ttft` is `distributions.ttft.p99`; `output_throughput` is `scalars.output_throughput`. */
export function figurePath(figure: string): string {
  const [first = "", metric] = figure.split(" ");
  return metric === undefined ? `scalars.${first}` : `distributions.${metric}.${first.replace(".", "_")}`;
}

function windowMeasures(details: StudyDetails, index: ReadonlyMap<number, number>): Measure[] {
  const places = new Map<string, { scenario: string; level: string }>();
  const scenarios = new Set<string>();
  for (const row of details.trials) {
    for (const { scenario, level } of row.windows) {
      places.set(`${scenario} ${level}`, { scenario, level });
      scenarios.add(scenario);
    }
  }
  return [...places.values()].flatMap(({ scenario, level }) =>
    Object.entries(details.figures).map(([figure, kind]) => ({
      id: `${figure}@${level}${scenarios.size > 1 ? ` ${scenario}` : ""}`,
      title: `${kind.title}, ${level}${scenarios.size > 1 ? `, ${scenario}` : ""}`,
      unit: kind.unit,
      better: kind.better,
      threshold: null,
      of: (row: TrialRow) => {
        const window = row.windows.findIndex((one) => one.level === level && one.scenario === scenario);
        const value = row.windows[window]?.values[figure];
        if (value === undefined) return null;
        return {
          value,
          path: `trials.${index.get(row.number)}.measurements.${window}.${figurePath(figure)}`,
        };
      },
    })),
  );
}

/** How a trial is drawn. */
export function markKind(row: TrialRow, details: StudyDetails): MarkKind {
  if (row.role === "default" || row.number === details.default) return "default";
  if (row.number === details.winner || (row.number === details.best && row.tone === "good")) return "best";
  if (row.state === "failed") return "failed";
  if (row.tone === "doubtful" || row.state === "void") return "doubtful";
  return row.feasible ? "ok" : "missed";
}

/** The non-dominated among points; ends of the staircase that the front is drawn as come from it. */
export function front<P extends { x: number; y: number }>(
  points: readonly P[],
  x: Direction,
  y: Direction,
): P[] {
  const sx = x === "max" ? -1 : 1;
  const sy = y === "max" ? -1 : 1;
  const ordered = [...points].sort((a, b) => sx * (a.x - b.x) || sy * (a.y - b.y));
  const found: P[] = [];
  let best = Number.POSITIVE_INFINITY;
  for (const point of ordered) {
    if (sy * point.y < best) {
      found.push(point);
      best = sy * point.y;
    }
  }
  return found;
}

/** The best value after each trial, in the order in which they were proposed. */
export function bestSoFar(
  points: readonly { order: number; value: number; counts: boolean }[],
  better: Direction,
): { order: number; value: number }[] {
  const found: { order: number; value: number }[] = [];
  for (const point of [...points].sort((a, b) => a.order - b.order)) {
    const last = found.at(-1);
    const improves = !last || (better === "max" ? point.value > last.value : point.value < last.value);
    if (point.counts && improves) found.push({ order: point.order, value: point.value });
  }
  return found;
}
