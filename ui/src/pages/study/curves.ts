// Figures over the load, where a study measures several loads, or searches the capacity of its servers.

import type { StudyDetails, TrialRow } from "~/api/types";
import type { Curve, CurvePoint } from "~/plots/Curves";

export interface CurveSet {
  scenario: string;
  /** Whether capacities were searched for. */
  searched: boolean;
  loadUnit: string;
  /** Figures that the windows have. */
  figures: readonly string[];
  curves: (figure: string) => Curve[];
  /** Of the capacity of the winner: where it is certified and refuted. */
  loads: readonly { value: number; text: string; kind: "capacity" | "slo" }[];
}

/** Trials whose curves are drawn faintly behind those of the default and the winner. */
const MOST_OTHERS = 60;

/** One set per scenario with at least two loads. */
export function curveSets(details: StudyDetails): CurveSet[] {
  const scenarios = new Map<string, string>();
  for (const row of details.trials) {
    for (const found of [...row.windows.filter((window) => window.load !== null), ...row.capacities]) {
      scenarios.set(found.scenario, found.load_unit);
    }
  }
  return [...scenarios].flatMap(([scenario, loadUnit]) => setOf(details, scenario, loadUnit) ?? []);
}

function setOf(details: StudyDetails, scenario: string, loadUnit: string): CurveSet | null {
  const rows = chosen(details).map((row) => ({ row, levels: levelsOf(row, scenario) }));
  const searched = rows.some(({ row }) => row.capacities.some((one) => one.scenario === scenario));
  const least = searched ? 1 : 2;
  const usable = rows.filter(({ levels }) => new Set(levels.map((level) => level.load)).size >= least);
  if (usable.length === 0) return null;
  const figures = Object.keys(details.figures).filter((figure) =>
    usable.some(({ levels }) => levels.filter((level) => level.values[figure] !== undefined).length >= least),
  );
  const shown = details.winner ?? details.best ?? details.default;
  const capacity = details.trials
    .find((row) => row.number === shown)
    ?.capacities.find((one) => one.scenario === scenario);
  return {
    scenario,
    searched,
    loadUnit,
    figures,
    loads: [
      ...(capacity?.certified
        ? [{ value: capacity.certified, text: "certified", kind: "capacity" as const }]
        : []),
      ...(capacity?.refuted ? [{ value: capacity.refuted, text: "refuted", kind: "slo" as const }] : []),
    ],
    curves: (figure) =>
      usable.map(({ row, levels }) => ({
        id: String(row.number),
        name: row.number === details.default ? details.reference : `trial ${row.number}`,
        kind: kindOf(row, details),
        points: levels.flatMap((level): CurvePoint[] => {
          const value = level.values[figure];
          if (value === undefined) return [];
          return [{ x: level.load, y: value, ...(level.verdict ? { verdict: level.verdict } : {}) }];
        }),
      })),
  };
}

/** The default, the winner, and the best of the others. */
function chosen(details: StudyDetails): TrialRow[] {
  const rows = details.trials.filter((row) => row.repeat_of === null);
  const first = rows.filter((row) => kindOf(row, details) !== "other");
  return [...first, ...rows.filter((row) => kindOf(row, details) === "other").slice(0, MOST_OTHERS)];
}

function kindOf(row: TrialRow, details: StudyDetails): Curve["kind"] {
  if (row.number === details.winner || row.number === details.best) {
    return row.number === details.default ? "default" : "best";
  }
  return row.number === details.default ? "default" : "other";
}

interface Level {
  load: number;
  values: Readonly<Record<string, number>>;
  verdict?: string;
}

function levelsOf(row: TrialRow, scenario: string): Level[] {
  const curve = row.capacities.find((one) => one.scenario === scenario);
  if (curve) return [...curve.levels];
  return row.windows.flatMap((window) =>
    window.scenario === scenario && window.load !== null
      ? [{ load: window.load, values: window.values }]
      : [],
  );
}

/** The throughput and the latency that matter most: those of the study's goals, if they are among the figures. */
export function suggested(
  details: StudyDetails,
  figures: readonly string[],
): [string | undefined, string | undefined] {
  const bounds = details.trials.flatMap((row) => row.capacities.map((one) => one.figure)).slice(0, 1);
  const goals = [...details.goals.map((goal) => goal.figure), ...bounds].filter((figure) =>
    figures.includes(figure),
  );
  const isTime = (figure: string) => details.figures[figure]?.unit === "s";
  const rate =
    goals.find((figure) => !isTime(figure)) ?? figures.find((figure) => figure === "output_throughput");
  const time = goals.find(isTime) ?? figures.find((figure) => figure === "p99 ttft") ?? figures.find(isTime);
  return [rate, time];
}

/** The bound of the study on a figure, if one applies at every load. */
export function boundOf(details: StudyDetails, figure: string): number | null {
  const found = details.goals.find(
    (goal) => goal.figure === figure && (goal.at === null || goal.at === "capacity") && goal.slo !== null,
  );
  return found?.threshold ?? null;
}
