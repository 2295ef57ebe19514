// Durations and ages, as the command line writes them (src/autotuner/cli/texts.py): a test compares both.

import { fixed } from "./numbers";

const whole = (value: number) => Number(fixed(value, 0));

/** `45 s`, `3 min`, `1 h 20 min`. */
export function duration(seconds: number): string {
  if (seconds < 90) return `${whole(seconds)} s`;
  const minutes = whole(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** How long ago: `now`, `5 min`, `3 h`, `12 d`. */
export function age(seconds: number): string {
  const minutes = Math.max(0, seconds) / 60;
  if (minutes < 1) return "now";
  if (minutes < 60) return `${whole(minutes)} min`;
  return minutes < 48 * 60 ? `${whole(minutes / 60)} h` : `${whole(minutes / 1440)} d`;
}

/** A moment in the reader's time zone. */
export function moment(seconds: number): string {
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}
