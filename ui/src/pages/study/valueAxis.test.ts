import { expect, it } from "vitest";
import type { TrialRow } from "~/api/types";
import { parameterAxis } from "./valueAxis";

const row = (values: Record<string, unknown>) => ({ values }) as unknown as TrialRow;

it("gives each of a few values a place, in their order", () => {
  const rows = [row({ a: 4096 }), row({ a: 512 }), row({}), row({ a: null }), row({ a: 2048 })];
  const axis = parameterAxis("a", rows);
  expect(axis.ticks.map((tick) => tick.text)).toEqual(["not set", "-", "512", "2048", "4096"]);
  expect(axis.of(row({ a: 512 }))).toBe(0.5);
  expect(axis.of(row({ a: 7 }))).toBeNull();
  const texts = parameterAxis("b", [row({ b: "fp8" }), row({ b: "auto" }), row({ b: true })]);
  expect(texts.ticks.map((tick) => tick.text)).toEqual(["auto", "fp8", "on"]);
});

it("places many numbers by their size, on a logarithmic axis if they differ much", () => {
  const many = Array.from({ length: 20 }, (_, i) => row({ a: i }));
  const axis = parameterAxis("a", [...many, row({})]);
  expect([axis.discrete, axis.of(row({ a: 0 })), axis.of(row({ a: 19 })), axis.of(row({}))]).toEqual([
    false,
    0.12,
    1,
    0,
  ]);
  const wide = parameterAxis(
    "a",
    Array.from({ length: 14 }, (_, i) => row({ a: 2 ** i })),
  );
  expect(wide.of(row({ a: 2 ** 6.5 }))).toBeCloseTo(0.5);
  expect(wide.ticks.map((tick) => tick.text)).toEqual(["1", "10", "100", "1000", "8192"]);
});
