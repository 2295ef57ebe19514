import { boxOf, Frame, Reference } from "./Frame";
import type { MarkKind } from "./marks";
import { Points } from "./Points";
import { linear, scaleOf } from "./scale";
import { useWidth } from "./useWidth";

export interface HistoryPoint {
  id: string;
  order: number;
  value: number;
  kind: MarkKind;
}

interface Props {
  points: readonly HistoryPoint[];
  best: readonly { order: number; value: number }[];
  reference: { value: number; text: string } | null;
  bound: { value: number; text: string } | null;
  title: string;
  text: (value: number) => string;
  axisText: (value: number) => string;
  picked: ReadonlySet<string>;
  onPick: (ids: readonly string[]) => void;
  onOpen: (id: string) => void;
  height?: number;
}

/** The objective of each trial in the order in which they were proposed, and the best so far. */
export function History(props: Props) {
  const { points, best, reference, bound, title, text, axisText, height = 260 } = props;
  const [ref, width] = useWidth();
  const box = boxOf(width, height);
  const last = Math.max(1, ...points.map((point) => point.order));
  const x = linear(
    [-0.5, last + 0.5],
    [box.left, box.right],
    Math.max(2, Math.min(8, Math.floor(width / 70))),
  );
  const extra = [reference?.value, bound?.value].filter((value) => value !== undefined);
  const y = scaleOf([...points.map((point) => point.value), ...extra], [box.bottom, box.top], 5);
  const whole = Object.assign((value: number) => x(value), x, { ticks: x.ticks.filter(Number.isInteger) });
  const marks = points.map((point) => ({
    id: point.id,
    kind: point.kind,
    x: x(point.order),
    y: y(point.value),
  }));
  const values = new Map(points.map((point) => [point.id, point.value]));
  const steps = best.map(
    (point, i) => `${i === 0 ? "M" : "H"}${x(point.order)}${i === 0 ? " " : "V"}${y(point.value)}`,
  );
  return (
    <div ref={ref} style={{ minHeight: height }}>
      {width > 0 && (
        <Frame
          box={box}
          x={whole}
          y={y}
          xTitle="trial"
          yTitle={title}
          xText={(value) => value.toFixed(0)}
          yText={axisText}
          label={`${title} of ${points.length} trials in order; the table of trials has the same values`}
        >
          {bound && <Reference box={box} at={y(bound.value)} kind="slo" text={bound.text} />}
          {reference && <Reference box={box} at={y(reference.value)} kind="default" text={reference.text} />}
          {steps.length > 0 && <path className="so-far" d={`${steps.join("")}H${x(last + 0.5)}`} />}
          <Points
            box={box}
            marks={marks}
            picked={props.picked}
            onPick={props.onPick}
            onOpen={props.onOpen}
            describe={(id) => `trial ${id}: ${text(values.get(id) ?? 0)}`}
          />
        </Frame>
      )}
    </div>
  );
}
