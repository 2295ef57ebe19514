// Numbers for people, by the rules of the command line (src/autotuner/report/numbers.py): a test compares both.

import type { Unit } from "~/api/types";

/** Digits that show a double exactly, so that ties can be told from values close to them. */
const EXACT_DIGITS = 60;

const UNITS: Record<Unit, string> = {
  s: "ms",
  "tokens/s": "tokens/s",
  "requests/s": "requests/s",
  "documents/s": "documents/s",
  "in flight": "in flight",
  "x speed": "x speed",
  ratio: "",
  "J/token": "J/token",
  "USD/1M tokens": "per 1M tokens",
  "USD/request": "per request",
};

/** The unit of displayed values; empty where the value says it itself, as percentages do. */
export function shownUnit(unit: Unit): string {
  return unit === "ratio" ? "%" : unit.startsWith("USD") ? unit : UNITS[unit];
}

/** A fixed number of decimals; ties go to the even digit, as in Python. */
export function fixed(value: number, decimals: number): string {
  const up = value.toFixed(decimals);
  const rest = Math.abs(value).toFixed(EXACT_DIGITS).split(".")[1]?.slice(decimals) ?? "";
  if (!/^50*$/.test(rest) || Number(up.at(-1)) % 2 === 0) return up;
  // toFixed takes the larger of both; the even one is the digit before.
  const step = 10 ** -decimals;
  return (value < 0 ? value + step / 2 : value - step / 2).toFixed(decimals);
}

function grouped(text: string): string {
  return text.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** Significant digits as Python's `g`: no trailing zeros, exponents of at least two digits. */
function significant(value: number, digits: number): string {
  if (value === 0) return "0";
  const exponent = Number(value.toExponential(digits - 1).split("e")[1]);
  if (exponent < -4 || exponent >= digits) {
    const [mantissa = "", power = "0"] = value.toExponential(digits - 1).split("e");
    const size = String(Math.abs(Number(power))).padStart(2, "0");
    return `${trimmed(mantissa)}e${Number(power) < 0 ? "-" : "+"}${size}`;
  }
  return trimmed(fixed(value, digits - 1 - exponent));
}

function trimmed(text: string): string {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/** Three significant digits, thousands grouped. */
export function plain(value: number): string {
  if (value === 0) return "0";
  return Math.abs(value) >= 100 ? grouped(fixed(value, 0)) : significant(value, 3);
}

/** `$7.72`, `$1,234`; three significant digits below a cent. */
export function usd(value: number): string {
  if (value === 0 || value >= 0.1)
    return value >= 1000 ? `$${grouped(fixed(value, 0))}` : `$${fixed(value, 2)}`;
  const rounded = Number(value.toPrecision(3));
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(rounded))));
  return `$${trimmed(rounded.toFixed(decimals))}`;
}

/** `1,234 tokens/s`, `56.7 ms`; a dash if there is no value. */
export function withUnit(unit: Unit, value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (unit === "ratio") return `${significant(value * 100, 4)}%`;
  if (unit === "USD/1M tokens" || unit === "USD/request") return `${usd(value)} ${UNITS[unit]}`;
  const shown = plain(unit === "s" ? value * 1000 : value);
  return `${shown}${unit === "x speed" ? "" : " "}${UNITS[unit]}`;
}

/** A value without its unit, for columns whose title has it. */
export function bare(unit: Unit, value: number): string {
  if (unit === "ratio") return significant(value * 100, 4);
  if (unit.startsWith("USD")) return usd(value);
  return plain(unit === "s" ? value * 1000 : value);
}

/** `85%`; an estimate is never certain: `over 99%`, `under 1%`. */
export function chance(probability: number): string {
  if (probability > 0.99) return "over 99%";
  return probability < 0.01 ? "under 1%" : `${fixed(probability * 100, 0)}%`;
}

/** `+12%`; one decimal below ten. What rounds to zero has no sign. */
export function percent(ratio: number, sign = true): string {
  if (ratio === 0) return "0%";
  const text = fixed(ratio * 100, Math.abs(ratio) >= 0.0995 ? 0 : 1);
  if (Number(text) === 0) return "0.0%";
  return `${sign && ratio > 0 ? "+" : ""}${text}%`;
}
