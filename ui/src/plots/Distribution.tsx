import { boxOf, Frame, Reference } from "./Frame";
import { linear, logarithmic, type Scale } from "./scale";
import { useWidth } from "./useWidth";

export interface DistributionLine {
  id: string;
  name: string;
  /** Class of its color. */
  kind: string;
  /** Ascending. */
  values: readonly number[];
  /** Share of requests that are at most as slow, per value. */
  shares: readonly number[];
}

export interface Bins {
  edges: readonly number[];
  counts: readonly number[];
}

interface Props {
  title: string;
  /** Drawn behind the curves; null draws curves only. */
  bins: Bins | null;
  lines: readonly DistributionLine[];
  /** Percentiles to mark on the first curve. */
  marks: readonly { value: number; share: number; text: string }[];
  bounds: readonly { value: number; text: string }[];
  log: boolean;
  axisText: (value: number) => string;
  height?: number;
}

const SHARES = [0, 0.25, 0.5, 0.75, 1];
const HISTOGRAM_SHARE = 0.96;

/** How a latency is distributed: a histogram, and the share of requests that are at most as slow. */
export function Distribution({ title, bins, lines, marks, bounds, log, axisText, height = 230 }: Props) {
  const [ref, width] = useWidth();
  const box = boxOf(width, height);
  const x = scaleFor(lines, bins, bounds, log, [box.left, box.right], Math.max(2, Math.floor(width / 75)));
  const y = Object.assign(linear([0, 1], [box.bottom, box.top], 4), { ticks: SHARES });
  const most = Math.max(1, ...(bins?.counts ?? []));
  const bar = (count: number) => (box.bottom - box.top) * HISTOGRAM_SHARE * (count / most);
  return (
    <div ref={ref} style={{ minHeight: height }}>
      {width > 0 && (
        <Frame
          box={box}
          x={x}
          y={y}
          xTitle={title}
          yTitle="requests at most as slow"
          xText={axisText}
          yText={(share) => `${share * 100}%`}
          label={`Distribution of ${title} of ${lines.map((line) => line.name).join(", ")}`}
        >
          {bins && (
            <path
              className="histogram"
              d={bins.counts
                .map((count, i) => {
                  const from = x(bins.edges[i] ?? 0);
                  const to = x(bins.edges[i + 1] ?? 0);
                  if (count === 0) return "";
                  return `M${from} ${box.bottom}v${-bar(count)}H${Math.max(from + 0.5, to - 0.75)}V${box.bottom}z`;
                })
                .join("")}
            />
          )}
          {bounds.map((bound) => (
            <Reference key={bound.text} box={box} at={x(bound.value)} kind="slo" text={bound.text} vertical />
          ))}
          {[...lines].reverse().map((line) => (
            <path key={line.id} className={`cdf ${line.kind}`} d={curve(line, x, y)} />
          ))}
          {marks.map((mark) => (
            <g key={mark.text} className="percentile">
              <circle cx={x(mark.value)} cy={y(mark.share)} r={3.5} />
              <text
                x={x(mark.value) + (x(mark.value) > box.right - 34 ? -7 : 7)}
                y={y(mark.share)}
                dy={mark.share > 0.95 ? "-0.25em" : "0.95em"}
                textAnchor={x(mark.value) > box.right - 34 ? "end" : "start"}
              >
                {mark.text}
              </text>
            </g>
          ))}
        </Frame>
      )}
    </div>
  );
}

function scaleFor(
  lines: readonly DistributionLine[],
  bins: Bins | null,
  bounds: readonly { value: number }[],
  log: boolean,
  range: readonly [number, number],
  count: number,
): Scale {
  const values = [...lines.flatMap((line) => line.values), ...(bins?.edges ?? [])];
  const low = values.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY);
  const high = values.reduce((most, value) => Math.max(most, value), 0);
  // A bound that is far away would squeeze the curve into a corner; its text says where it is.
  const near = bounds.map((bound) => bound.value).filter((value) => value <= high * 2 && value > 0);
  const end = Math.max(high, ...near.map((value) => value * 1.04)) || 1;
  if (log && low > 0 && low < end) return logarithmic([Math.min(low, ...near), end], range, count);
  const start = Number.isFinite(low) && low > end / 2 ? Math.min(low, ...near) : 0;
  return linear([start, end === start ? start + 1 : end], range, count);
}

function curve(line: DistributionLine, x: Scale, y: Scale): string {
  const points = line.values.map((value, i) => `${x(value).toFixed(1)} ${y(line.shares[i] ?? 0).toFixed(1)}`);
  return points.length === 0 ? "" : `M${x(line.values[0] ?? 0).toFixed(1)} ${y(0)}L${points.join("L")}`;
}
