// Titles of axes, which must not leave their plot.

/** Width of a character in pixels, on average. */
const CHARACTER = 6;

/** A title such as `output throughput, tokens/s`, or the part of it that fits: the name without the unit, or the unit. */
export function axisTitle(title: string, length: number): string {
  const most = Math.floor(length / CHARACTER);
  const comma = title.lastIndexOf(", ");
  if (title.length <= most || comma < 0) return title;
  const name = title.slice(0, comma);
  return name.length <= most ? name : title.slice(comma + 2);
}
