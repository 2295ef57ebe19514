import { expect, it } from "vitest";
import { bestSoFar, figurePath, front } from "./measures";

it("finds the non-dominated points, whichever direction is better", () => {
  const points = [
    { x: 1, y: 5 },
    { x: 2, y: 3 },
    { x: 3, y: 4 },
    { x: 4, y: 1 },
    { x: 4, y: 6 },
  ];
  const at = (x: "min" | "max", y: "min" | "max") => front(points, x, y).map((p) => `${p.x},${p.y}`);
  expect(at("min", "min")).toEqual(["1,5", "2,3", "4,1"]);
  expect(at("max", "max")).toEqual(["4,6"]);
  expect(at("max", "min")).toEqual(["4,1"]);
  expect(at("min", "max")).toEqual(["1,5", "4,6"]);
});

it("improves only with trials that count", () => {
  const points = [
    { order: 2, value: 9, counts: false },
    { order: 0, value: 5, counts: true },
    { order: 3, value: 6, counts: true },
    { order: 1, value: 4, counts: true },
  ];
  expect(bestSoFar(points, "max").map((p) => p.value)).toEqual([5, 6]);
  expect(bestSoFar(points, "min").map((p) => p.value)).toEqual([5, 4]);
});

it("knows where the JSON has a figure", () => {
  expect(figurePath("p99 ttft")).toBe("distributions.ttft.p99");
  expect(figurePath("p99.9 ttft")).toBe("distributions.ttft.p99_9");
  expect(figurePath("goodput")).toBe("scalars.goodput");
});
