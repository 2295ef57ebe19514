import { useLit } from "~/components/lit";
import { boxOf, Frame, Reference } from "./Frame";
import { scaleOf } from "./scale";
import { useWidth } from "./useWidth";

export interface CurvePoint {
  x: number;
  y: number;
  /** Of a capacity search: how the level came out. */
  verdict?: string;
}

export interface Curve {
  id: string;
  name: string;
  kind: "default" | "best" | "other";
  points: readonly CurvePoint[];
}

interface Props {
  curves: readonly Curve[];
  xTitle: string;
  yTitle: string;
  bound: { value: number; text: string } | null;
  /** Loads to mark, such as a capacity. */
  loads?: readonly { value: number; text: string; kind: "capacity" | "slo" }[];
  xText: (value: number) => string;
  text: (value: number) => string;
  axisText: (value: number) => string;
  height?: number;
}

const ORDER = { other: 0, default: 1, best: 2 };

/** A figure over the load, one line per trial. */
export function Curves({
  curves,
  xTitle,
  yTitle,
  bound,
  loads = [],
  xText,
  text,
  axisText,
  height = 220,
}: Props) {
  const [ref, width] = useWidth();
  const lit = useLit();
  const box = boxOf(width, height);
  const points = curves.flatMap((curve) => curve.points);
  const x = scaleOf(
    [0, ...points.map((p) => p.x), ...loads.map((load) => load.value)],
    [box.left, box.right],
    Math.max(2, Math.min(8, Math.floor(width / 80))),
  );
  const y = scaleOf(
    [0, ...points.map((p) => p.y), ...(bound ? [bound.value] : [])],
    [box.bottom, box.top],
    4,
  );
  const rank = (curve: Curve) => (curve.id === lit ? 3 : ORDER[curve.kind]);
  const drawn = [...curves].sort((a, b) => rank(a) - rank(b));
  return (
    <div ref={ref} style={{ minHeight: height }}>
      {width > 0 && (
        <Frame
          box={box}
          x={x}
          y={y}
          xTitle={xTitle}
          yTitle={yTitle}
          xText={xText}
          yText={axisText}
          label={`${yTitle} over ${xTitle} of ${curves.map((curve) => curve.name).join(", ")}`}
        >
          {bound && <Reference box={box} at={y(bound.value)} kind="slo" text={bound.text} />}
          {loads.map((load) => (
            <Reference
              key={load.text}
              box={box}
              at={x(load.value)}
              kind={load.kind}
              text={load.text}
              vertical
            />
          ))}
          {drawn.map((curve) => (
            <g key={curve.id} className={`curve ${curve.kind} ${curve.id === lit ? "lit" : ""}`}>
              <path d={path(curve.points, x, y)} />
              {curve.points.map((point) => (
                <circle key={point.x} className={point.verdict ?? ""} cx={x(point.x)} cy={y(point.y)} r={3.5}>
                  <title>{`${curve.name}, ${xText(point.x)} ${xTitle}: ${text(point.y)}${point.verdict ? `, ${point.verdict}` : ""}`}</title>
                </circle>
              ))}
            </g>
          ))}
        </Frame>
      )}
    </div>
  );
}

function path(points: readonly CurvePoint[], x: (v: number) => number, y: (v: number) => number): string {
  const ordered = [...points].sort((a, b) => a.x - b.x);
  return ordered.map((p, i) => `${i === 0 ? "M" : "L"}${x(p.x)} ${y(p.y)}`).join("");
}
