// Where values of parameters and figures lie on an axis from 0 to 1.

import type { StudyDetails, TrialRow } from "~/api/types";
import { bare } from "~/format/numbers";
import { valueText } from "~/format/values";
import { ticks } from "~/plots/scale";
import type { Measure } from "./measures";

export interface ValueAxis {
  /** From 0 to 1; null if the row has no place. */
  of: (row: TrialRow) => number | null;
  ticks: readonly { at: number; text: string }[];
  /** Whether each value has a place of its own. */
  discrete: boolean;
}

/** Numeric values that each get a place of their own; more of them are placed by their size. */
const MOST_PLACES = 12;
/** Ratio of the ends of an axis from which it is logarithmic. */
const WIDE = 50;
const UNSET = "not set";

/** The axis of a parameter. Rows that do not set it have a place at its lower end. */
export function parameterAxis(name: string, rows: readonly TrialRow[]): ValueAxis {
  const values = new Map<string, unknown>();
  for (const row of rows) values.set(textOf(row, name), row.values[name]);
  const numbers = [...values.values()].filter((value) => typeof value === "number");
  if (numbers.length > MOST_PLACES) return numericAxis(name, numbers, values.size > numbers.length);
  const ordered = [...values].sort(([a, x], [b, y]) => order(a, x, b, y)).map(([text]) => text);
  const places = new Map(ordered.map((text, i) => [text, (i + 0.5) / ordered.length]));
  return {
    of: (row) => places.get(textOf(row, name)) ?? null,
    ticks: ordered.map((text) => ({ at: places.get(text) ?? 0, text })),
    discrete: true,
  };
}

function numericAxis(name: string, numbers: readonly number[], gap: boolean): ValueAxis {
  const floor = gap ? 0.12 : 0;
  const { place, labels } = sized(numbers, (value) => valueText(value));
  const lifted = (at: number) => floor + at * (1 - floor);
  return {
    of: (row) => {
      const value = row.values[name];
      return typeof value === "number" ? lifted(place(value)) : gap ? 0 : null;
    },
    ticks: [
      ...(gap ? [{ at: 0, text: UNSET }] : []),
      ...labels.map(({ at, text }) => ({ at: lifted(at), text })),
    ],
    discrete: false,
  };
}

/** The axis of a figure. */
export function measureAxis(measure: Measure, rows: readonly TrialRow[]): ValueAxis {
  const values = rows.flatMap((row) => measure.of(row)?.value ?? []);
  const { place, labels } = sized(values, (value) => bare(measure.unit, value));
  return {
    of: (row) => {
      const found = measure.of(row);
      return found ? place(found.value) : null;
    },
    ticks: labels,
    discrete: false,
  };
}

function sized(values: readonly number[], text: (value: number) => string) {
  const low = values.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY);
  const high = values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  if (!(high > low)) return { place: () => 0.5, labels: values.length ? [{ at: 0.5, text: text(low) }] : [] };
  const log = low > 0 && high / low > WIDE;
  const scaled = (value: number) => (log ? Math.log10(value) : value);
  const place = (value: number) => (scaled(value) - scaled(low)) / (scaled(high) - scaled(low));
  const inner = log
    ? Array.from({ length: 24 }, (_, i) => 10 ** (Math.floor(Math.log10(low)) + i)).filter(
        (one) => one > low && one < high,
      )
    : ticks(low, high, 4).filter((one) => one > low && one < high);
  // Labels next to an end would be drawn over its own.
  const between = inner.filter((one) => place(one) > 0.08 && place(one) < 0.92);
  return { place, labels: [low, ...between, high].map((value) => ({ at: place(value), text: text(value) })) };
}

function textOf(row: TrialRow, name: string): string {
  const value = row.values[name];
  return value === undefined ? UNSET : valueText(value);
}

/** What is not set first, then numbers by size, then everything else by its text. */
function order(a: string, x: unknown, b: string, y: unknown): number {
  if (x === undefined || y === undefined) return x === undefined ? -1 : 1;
  if (typeof x === "number" && typeof y === "number") return x - y;
  if (typeof x === "number" || typeof y === "number") return typeof x === "number" ? 1 : -1;
  return a.localeCompare(b, undefined, { numeric: true });
}

/** Rows that plots of the search show: all but the repeats of the proof. */
export function searchRows(details: StudyDetails): TrialRow[] {
  return details.trials.filter((row) => row.repeat_of === null);
}
