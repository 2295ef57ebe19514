import { expect, it } from "vitest";
import { activityText, fold, NOTHING, type StudyEvent, secondsLeft } from "./live";
import recorded from "./recorded.json";

let seq = 0;
const event = (
  at: number,
  kind: string,
  trial: number | null,
  data: Record<string, unknown> = {},
): StudyEvent => ({
  seq: ++seq,
  at,
  kind,
  trial,
  data,
});

const EVENTS = [
  event(0, "study_started", null, { parallel: 2, left: { search: 4, repeats: 2 } }),
  event(0, "trial_proposed", 0, { left: { search: 3, repeats: 2 } }),
  event(1, "phase", 0, { phase: "loading" }),
  event(20, "trial_finished", 0, { state: "done" }),
  event(20, "trial_proposed", 1, { left: { search: 2, repeats: 2 } }),
  event(22, "phase", 1, { phase: "measuring", level: "concurrency=8", scenario: "D(1,1)" }),
  event(25, "progress", 1, { level: "concurrency=8", elapsed_s: 3.2, total_s: 30 }),
  event(25, "notice", null, { text: "waits for a GPU" }),
];

it("knows what runs, and for about how long", () => {
  const live = fold(NOTHING, EVENTS);
  expect([...live.running.keys()]).toEqual([1]);
  const activity = live.running.get(1);
  expect(activity && activityText(activity)).toBe("measuring concurrency=8, 3 of 30 s");
  // 15 s of the running trial, one round of two, two repeats.
  expect(secondsLeft(live, 25)).toBe(15 + 20 + 40);
  expect(live.notices.map((notice) => notice.text)).toEqual(["waits for a GPU"]);
});

it("ignores what a new connection repeats", () => {
  const live = fold(NOTHING, EVENTS);
  expect(fold(live, EVENTS)).toEqual(live);
});

it("ends with the study", () => {
  const live = fold(fold(NOTHING, EVENTS), [event(30, "study_finished", null)]);
  expect(live.running.size).toBe(0);
  expect(secondsLeft(live, 30)).toBeNull();
});

it("does not count void trials, and skips kinds of later versions", () => {
  const live = fold(fold(NOTHING, EVENTS), [
    event(90, "trial_finished", 1, { state: "void" }),
    event(91, "new", 1),
  ]);
  expect(live.spent).toEqual([20, 1]);
});

it("is the same without the progress that a brief stream leaves out", () => {
  const brief = recorded.filter((event) => event.brief);
  expect(brief.length).toBeLessThan(recorded.length);
  const live = fold(NOTHING, recorded);
  expect(live.running.size).toBe(2);
  expect([...live.running.values()].map(activityText)).toContain("measuring concurrency=16, 1 of 6 s");
  expect(fold(NOTHING, brief)).toEqual(live);
});
