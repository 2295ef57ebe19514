import { boxOf, Frame, Reference } from "./Frame";
import type { MarkKind } from "./marks";
import { Points } from "./Points";
import { linear, scaleOf } from "./scale";
import { useWidth } from "./useWidth";

export interface SlicePoint {
  id: string;
  /** From 0 to 1. */
  at: number;
  value: number;
  kind: MarkKind;
}

interface Props {
  points: readonly SlicePoint[];
  ticks: readonly { at: number; text: string }[];
  /** Whether each value has a place of its own, within which points are spread so that they do not hide each other. */
  discrete: boolean;
  xTitle: string;
  yTitle: string;
  reference: { value: number; text: string } | null;
  bound: { value: number; text: string } | null;
  text: (value: number) => string;
  axisText: (value: number) => string;
  picked: ReadonlySet<string>;
  onPick: (ids: readonly string[]) => void;
  onOpen: (id: string) => void;
  height?: number;
}

/** A figure of all trials over one parameter. */
export function Slice(props: Props) {
  const { points, ticks, discrete, xTitle, yTitle, reference, bound, text, axisText, height = 260 } = props;
  const [ref, width] = useWidth();
  const box = boxOf(width, height);
  const room = discrete ? 0.55 / Math.max(1, ticks.length) : 0;
  const places = linear([0, 1], [box.left + (discrete ? 0 : 12), box.right - (discrete ? 0 : 12)], 4);
  const shown = fitting(ticks, box.right - box.left);
  const x = Object.assign((at: number) => places(at), places, { ticks: shown.map((tick) => tick.at) });
  const names = new Map(ticks.map((tick) => [tick.at, tick.text]));
  const extra = [reference?.value, bound?.value].filter((value) => value !== undefined);
  const y = scaleOf([...points.map((point) => point.value), ...extra], [box.bottom, box.top], 5);
  const marks = points.map((point) => ({
    id: point.id,
    kind: point.kind,
    x: x(point.at + room * (spread(Number(point.id)) - 0.5)),
    y: y(point.value),
  }));
  const values = new Map(points.map((point) => [point.id, point.value]));
  return (
    <div ref={ref} style={{ minHeight: height }}>
      {width > 0 && (
        <Frame
          box={box}
          x={x}
          y={y}
          xTitle={xTitle}
          yTitle={yTitle}
          xText={(at) => names.get(at) ?? ""}
          yText={axisText}
          label={`${yTitle} over ${xTitle} of ${points.length} trials; the table of trials has the same values`}
        >
          {bound && <Reference box={box} at={y(bound.value)} kind="slo" text={bound.text} />}
          {reference && <Reference box={box} at={y(reference.value)} kind="default" text={reference.text} />}
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

/** Evenly spread numbers from 0 to 1, the same for a trial every time. */
function spread(number: number): number {
  return (number * 0.618_033_988_75) % 1;
}

/** Labels that fit beside each other. */
function fitting<T extends { text: string }>(ticks: readonly T[], width: number): T[] {
  const longest = Math.max(1, ...ticks.map((tick) => tick.text.length));
  const every = Math.ceil((ticks.length * (longest * 6.5 + 10)) / Math.max(1, width));
  return ticks.filter((_, i) => i % every === 0);
}
