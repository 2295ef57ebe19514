import { expect, it } from "vitest";
import { byKey, type Range } from "./Parallel";

const discrete = { discrete: true, ticks: [1, 2, 3, 4].map((n) => ({ at: (n - 0.5) / 4, text: `${n}` })) };

it("moves, widens and removes a range with keys", () => {
  const press = (key: string, range: Range | undefined, shiftKey = false) =>
    byKey({ key, shiftKey }, discrete, range);
  expect(press("ArrowUp", undefined)).toEqual([0, 0.25]);
  expect(press("ArrowDown", undefined)).toEqual([0.75, 1]);
  expect(press("ArrowUp", [0, 0.25])).toEqual([0.25, 0.5]);
  expect(press("ArrowUp", [0.75, 1])).toEqual([0.75, 1]);
  expect(press("ArrowUp", [0.25, 0.5], true)).toEqual([0.25, 0.75]);
  expect(press("ArrowDown", [0.25, 0.5], true)).toEqual([0, 0.5]);
  expect(press("Escape", [0, 0.25])).toBeNull();
  expect(press("Escape", undefined)).toBeUndefined();
  expect(press("Tab", [0, 0.25])).toBeUndefined();
});
