import { expect, it } from "vitest";
import { activeAxis, lanesOf, pieces } from "./lanes";

const spans = [
  { id: "0", start: 0, end: 10 },
  { id: "1", start: 10, end: 30 },
  { id: "2", start: 12, end: 20 },
  { id: "3", start: 20, end: 25 },
  { id: "4", start: 1000, end: 1010 },
];

it("puts trials that ran side by side into lanes", () => {
  expect(Object.fromEntries(lanesOf(spans))).toEqual({ 0: 0, 1: 0, 2: 1, 3: 1, 4: 0 });
});

it("leaves idle time out", () => {
  const axis = activeAxis(spans, 60);
  expect([axis.length, axis.cuts]).toEqual([40, [30]]);
  expect([0, 15, 30, 500, 1005, 9999].map(axis.at)).toEqual([0, 15, 30, 30, 35, 40]);
  expect(activeAxis([], 60).at(5)).toBe(0);
});

it("joins phases of a kind", () => {
  expect(pieces({ launching: 1, loading: 2, measuring: 3, unknown: 1 })).toEqual([
    { group: "load", seconds: 3 },
    { group: "measure", seconds: 3 },
    { group: "rest", seconds: 1 },
  ]);
});
