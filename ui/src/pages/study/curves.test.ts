import { describe, expect, it } from "vitest";
import type { StudyDetails, TrialRow } from "~/api/types";
import { boundOf, curveSets, suggested } from "./curves";

const FIGURES = {
  output_throughput: { title: "output throughput", unit: "tokens/s", better: "max" },
  "p99 ttft": { title: "p99 TTFT", unit: "s", better: "min" },
} as const;

const window = (load: number | null, ttft: number) => ({
  scenario: "D(1,1)",
  level: `concurrency=${load}`,
  load,
  load_unit: "in flight",
  values: { output_throughput: ttft * 1000, "p99 ttft": ttft },
});

function row(number: number, part: Partial<TrialRow>): TrialRow {
  return { number, repeat_of: null, windows: [], capacities: [], ...part } as unknown as TrialRow;
}

function details(trials: TrialRow[]): StudyDetails {
  const goals = [{ figure: "p99 ttft", at: null, threshold: 0.4 }];
  return {
    default: 0,
    winner: 2,
    best: 2,
    reference: "default",
    figures: FIGURES,
    goals,
    trials,
  } as unknown as StudyDetails;
}

describe("studies of several loads", () => {
  const study = details([
    row(2, { windows: [window(4, 0.1), window(16, 0.3)] }),
    row(0, { windows: [window(4, 0.2), window(16, 0.5)] }),
    row(1, { windows: [window(4, 0.2)] }),
    row(3, { repeat_of: 2, windows: [window(4, 0.1), window(16, 0.3)] }),
  ]);

  it("draws one line per trial that has them, without repeats", () => {
    const [set] = curveSets(study);
    expect(set?.figures).toEqual(["output_throughput", "p99 ttft"]);
    expect(set?.curves("p99 ttft").map((curve) => [curve.name, curve.kind, curve.points.length])).toEqual([
      ["trial 2", "best", 2],
      ["default", "default", 2],
    ]);
  });

  it("proposes the figures of the goals, with their bounds", () => {
    expect(suggested(study, Object.keys(FIGURES))).toEqual(["output_throughput", "p99 ttft"]);
    expect(boundOf(study, "p99 ttft")).toBe(0.4);
    expect(boundOf(study, "output_throughput")).toBeNull();
  });
});

it("draws nothing for a single load, or loads without a place on an axis", () => {
  expect(
    curveSets(details([row(0, { windows: [window(4, 0.2)] }), row(1, { windows: [window(null, 0.2)] })])),
  ).toEqual([]);
});

it("draws the levels of a capacity search with their verdicts", () => {
  const level = (load: number, verdict: string, ttft: number) => ({
    load,
    verdict,
    values: { "p99 ttft": ttft },
    text: `${load} requests/s`,
    refuted_by: "",
    requests: 100,
    bounded: ttft,
  });
  const capacity = {
    scenario: "D(1,1)",
    load_unit: "requests/s",
    certified: 8,
    refuted: 12,
    answer: [],
    bound: "p99 ttft <= 400ms",
    figure: "p99 ttft",
    kind: null,
    threshold: 0.4,
    levels: [level(12, "refuted", 0.9), level(8, "certified", 0.3)],
  };
  const [set] = curveSets(details([row(2, { capacities: [capacity] })]));
  expect(set?.loads).toEqual([
    { value: 8, text: "certified", kind: "capacity" },
    { value: 12, text: "refuted", kind: "slo" },
  ]);
  expect(set?.curves("p99 ttft")[0]?.points).toEqual([
    { x: 12, y: 0.9, verdict: "refuted" },
    { x: 8, y: 0.3, verdict: "certified" },
  ]);
});
