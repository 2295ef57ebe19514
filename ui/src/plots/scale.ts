// Scales of axes: from data to pixels, with round numbers to label.

export interface Scale {
  (value: number): number;
  domain: readonly [number, number];
  ticks: readonly number[];
  invert: (pixel: number) => number;
}

/** Round steps that divide a range into about `count` parts. */
export function ticks(low: number, high: number, count: number): number[] {
  if (!(high > low)) return [low];
  const raw = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw * 0.999) ?? 10) * power;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400];

/** Round times that divide a number of seconds into at most `count` parts. */
export function timeTicks(seconds: number, count: number): number[] {
  const least = seconds / Math.max(1, count);
  const step = TIME_STEPS.find((one) => one >= least) ?? Math.ceil(least / 86400) * 86400;
  return Array.from({ length: Math.floor(seconds / step) + 1 }, (_, i) => i * step);
}

/** A linear scale over the values, which ends at round numbers; one that includes zero if it is not far away. */
export function scaleOf(
  values: readonly number[],
  range: readonly [number, number],
  count: number,
  whole = false,
): Scale {
  const finite = values.filter(Number.isFinite);
  let low = finite.length > 0 ? Math.min(...finite) : 0;
  let high = finite.length > 0 ? Math.max(...finite) : 1;
  if (low > 0 && low < 0.5 * high) low = 0;
  if (low === high) {
    const room = whole ? 1 : Math.abs(low) * 0.1 || 1;
    low -= room;
    high += room;
  }
  const spaced = ticks(low, high, count);
  const step = (spaced[1] ?? high) - (spaced[0] ?? low) || high - low;
  low = Math.floor(low / step + 1e-9) * step;
  high = Math.ceil(high / step - 1e-9) * step;
  return linear([low, high], range, count);
}

/** A linear scale with fixed ends. */
export function linear(
  domain: readonly [number, number],
  range: readonly [number, number],
  count: number,
): Scale {
  const [low, high] = domain;
  const [from, to] = range;
  const factor = high === low ? 0 : (to - from) / (high - low);
  const scale = (value: number) => from + (value - low) * factor;
  return Object.assign(scale, {
    domain,
    ticks: ticks(low, high, count),
    invert: (pixel: number) => (factor === 0 ? low : low + (pixel - from) / factor),
  });
}

/** A logarithmic scale between two positive values, with 1, 2 and 5 times powers of ten to label. */
export function logarithmic(
  domain: readonly [number, number],
  range: readonly [number, number],
  count: number,
): Scale {
  const [low, high] = [Math.log10(domain[0]), Math.log10(domain[1])];
  const within = linear([low, high], range, count);
  const first = Math.floor(low);
  const decades = Array.from({ length: Math.ceil(high) - first + 1 }, (_, i) => 10 ** (first + i));
  const inside = (value: number) => value >= domain[0] * (1 - 1e-9) && value <= domain[1] * (1 + 1e-9);
  const all = [[1, 2, 5], [1, 3], [1]]
    .map((factors) =>
      decades
        .flatMap((decade) => factors.map((factor) => Number((factor * decade).toPrecision(3))))
        .filter(inside),
    )
    .find((found, i) => found.length <= count || i === 2);
  // Within less than a decade or two there are hardly any of these, and evenly spaced numbers are as easy to read.
  const even = ticks(domain[0], domain[1], Math.min(4, count)).filter(inside);
  return Object.assign((value: number) => within(Math.log10(value)), {
    domain,
    ticks: all && all.length > 2 ? all : even,
    invert: (pixel: number) => 10 ** within.invert(pixel),
  });
}
