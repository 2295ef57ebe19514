import { expect, it } from "vitest";
import { linear, logarithmic, scaleOf, ticks, timeTicks } from "./scale";

it("labels round numbers within the range", () => {
  expect(ticks(0, 10, 5)).toEqual([0, 2, 4, 6, 8, 10]);
  expect(ticks(0.11, 0.39, 3)).toEqual([0.2, 0.3]);
  expect(ticks(-1, 1, 4)).toEqual([-1, -0.5, 0, 0.5, 1]);
  expect(ticks(5, 5, 4)).toEqual([5]);
});

it("covers all values, whatever they are", () => {
  for (const values of [
    [0.28, 0.43],
    [3],
    [0],
    [],
    [-3, 8],
    [1e-9, 2e-9],
    [1e9, 1e9 + 1],
    [Number.NaN, 4, 5],
  ]) {
    const scale = scaleOf(values, [0, 100], 5);
    for (const value of values.filter(Number.isFinite)) {
      expect(scale(value)).toBeGreaterThanOrEqual(-1e-6);
      expect(scale(value)).toBeLessThanOrEqual(100 + 1e-6);
    }
    expect(scale.ticks.length).toBeGreaterThan(0);
  }
});

it("goes back from pixels to values", () => {
  const scale = linear([10, 20], [100, 0], 5);
  expect(scale(15)).toBe(50);
  expect(scale.invert(50)).toBe(15);
});

it("divides time into round parts", () => {
  expect(timeTicks(400, 8)).toEqual([0, 60, 120, 180, 240, 300, 360]);
  expect(timeTicks(0.5, 4)).toEqual([0]);
  expect(timeTicks(86400 * 30, 4)).toEqual([0, 8, 16, 24].map((day) => day * 86400));
});

it("labels few round numbers on a logarithmic axis", () => {
  const scale = logarithmic([0.002, 3], [0, 100], 12);
  expect(scale.ticks).toEqual([0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]);
  expect([scale(0.002), Math.round(scale(3))]).toEqual([0, 100]);
  expect(scale.invert(0)).toBeCloseTo(0.002);
  expect(logarithmic([0.002, 3], [0, 100], 4).ticks).toEqual([0.01, 0.1, 1]);
  expect(logarithmic([0.021, 0.045], [0, 100], 4).ticks).toEqual([0.03, 0.04]);
});
