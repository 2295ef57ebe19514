import { boxOf, Frame } from "./Frame";
import type { MarkKind } from "./marks";
import { Points } from "./Points";
import { scaleOf } from "./scale";
import { useWidth } from "./useWidth";

export interface PredictedPoint {
  id: string;
  median: number;
  low: number;
  high: number;
  measured: number;
  kind: MarkKind;
}

interface Props {
  points: readonly PredictedPoint[];
  title: string;
  text: (value: number) => string;
  axisText: (value: number) => string;
  picked: ReadonlySet<string>;
  onPick: (ids: readonly string[]) => void;
  onOpen: (id: string) => void;
  height?: number;
}

/** Predictions with their intervals against measured values; right predictions lie on the diagonal. */
export function Predicted({ points, title, text, axisText, picked, onPick, onOpen, height = 260 }: Props) {
  const [ref, width] = useWidth();
  const box = boxOf(width, height);
  const measured = points.map((point) => point.measured);
  const most = Math.max(0, ...measured, ...points.map((point) => point.median)) * 1.5;
  // Intervals of first guesses may reach far beyond everything that was measured.
  const ends = points.flatMap((point) => [point.median, Math.min(point.high, most), point.low]);
  const x = scaleOf(
    [...measured, ...ends],
    [box.left, box.right],
    Math.max(2, Math.min(8, Math.floor(width / 90))),
  );
  const y = scaleOf([...measured, ...ends], [box.bottom, box.top], 5);
  const known = new Map(points.map((point) => [point.id, point]));
  const marks = points.map((point) => ({
    id: point.id,
    kind: point.kind,
    x: x(point.median),
    y: y(point.measured),
  }));
  const [low, high] = [Math.max(x.domain[0], y.domain[0]), Math.min(x.domain[1], y.domain[1])];
  const bars = points
    .map((point) => `M${x(point.low)} ${y(point.measured)}H${Math.min(box.right, x(point.high))}`)
    .join("");
  return (
    <div ref={ref} style={{ minHeight: height }}>
      {width > 0 && (
        <Frame
          box={box}
          x={x}
          y={y}
          xTitle={`predicted ${title}`}
          yTitle={`measured ${title}`}
          xText={axisText}
          yText={axisText}
          label={`Measured against predicted ${title} of ${points.length} trials`}
        >
          <path className="diagonal" d={`M${x(low)} ${y(low)}L${x(high)} ${y(high)}`} />
          <path className="expected" d={bars} />
          <Points
            box={box}
            marks={marks}
            picked={picked}
            onPick={onPick}
            onOpen={onOpen}
            describe={(id) => {
              const point = known.get(id);
              return point
                ? `trial ${id}: predicted ${text(point.median)}, measured ${text(point.measured)}`
                : "";
            }}
          />
        </Frame>
      )}
    </div>
  );
}
