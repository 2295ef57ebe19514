import type { Direction } from "~/api/types";
import { boxOf, Frame, Reference } from "./Frame";
import type { MarkKind } from "./marks";
import { Points } from "./Points";
import { scaleOf } from "./scale";
import { useWidth } from "./useWidth";

export interface ScatterPoint {
  id: string;
  x: number;
  y: number;
  kind: MarkKind;
}

export interface ScatterAxis {
  title: string;
  better: Direction;
  bound: { value: number; text: string } | null;
  text: (value: number) => string;
  axisText: (value: number) => string;
}

interface Props {
  points: readonly ScatterPoint[];
  front: readonly { x: number; y: number }[];
  x: ScatterAxis;
  y: ScatterAxis;
  picked: ReadonlySet<string>;
  onPick: (ids: readonly string[]) => void;
  onOpen: (id: string) => void;
  height?: number;
}

const ARROWS = { max: "→", min: "←" } as const;

/** Two figures of each trial, and the trials that no other one beats in both. */
export function Scatter({ points, front, x, y, picked, onPick, onOpen, height = 260 }: Props) {
  const [ref, width] = useWidth();
  const box = boxOf(width, height);
  const xs = scaleOf(
    [...points.map((p) => p.x), ...(x.bound ? [x.bound.value] : [])],
    [box.left, box.right],
    Math.max(2, Math.min(8, Math.floor(width / 90))),
  );
  const ys = scaleOf(
    [...points.map((p) => p.y), ...(y.bound ? [y.bound.value] : [])],
    [box.bottom, box.top],
    5,
  );
  const marks = points.map((p) => ({ id: p.id, kind: p.kind, x: xs(p.x), y: ys(p.y) }));
  const known = new Map(points.map((p) => [p.id, p]));
  const line = front.map((p, i) => (i === 0 ? `M${xs(p.x)} ${ys(p.y)}` : `H${xs(p.x)}V${ys(p.y)}`)).join("");
  return (
    <div ref={ref} style={{ minHeight: height }}>
      {width > 0 && (
        <Frame
          box={box}
          x={xs}
          y={ys}
          xTitle={`${x.title} (better ${ARROWS[x.better]})`}
          yTitle={`${y.title} (better ${ARROWS[y.better]})`}
          xText={x.axisText}
          yText={y.axisText}
          label={`${y.title} against ${x.title} of ${points.length} trials; the table of trials has the same values`}
        >
          {x.bound && <Reference box={box} at={xs(x.bound.value)} kind="slo" text={x.bound.text} vertical />}
          {y.bound && <Reference box={box} at={ys(y.bound.value)} kind="slo" text={y.bound.text} />}
          <path className="front" d={line} />
          <Points
            box={box}
            marks={marks}
            picked={picked}
            onPick={onPick}
            onOpen={onOpen}
            describe={(id) => {
              const p = known.get(id);
              return p ? `trial ${id}: ${x.text(p.x)}, ${y.text(p.y)}` : "";
            }}
          />
        </Frame>
      )}
    </div>
  );
}
