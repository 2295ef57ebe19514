import {
  type KeyboardEvent,
  type MouseEvent,
  type PointerEvent,
  useCallback,
  useMemo,
  useRef,
  useState,
} from "react";
import { useLit, useLitStore } from "~/components/lit";
import { KINDS, type MarkKind } from "./marks";
import { useWidth } from "./useWidth";

export interface ParallelAxis {
  id: string;
  title: string;
  note: string;
  ticks: readonly { at: number; text: string }[];
  discrete: boolean;
}

export interface ParallelLine {
  id: string;
  kind: MarkKind;
  /** From 0 to 1 on each axis; null where it has no place. */
  places: readonly (number | null)[];
}

export type Range = readonly [number, number];

interface Props {
  axes: readonly ParallelAxis[];
  lines: readonly ParallelLine[];
  ranges: ReadonlyMap<string, Range>;
  onRange: (axis: string, range: Range | null) => void;
  picked: ReadonlySet<string>;
  onOpen: (id: string) => void;
  describe: (id: string) => string;
}

const HEIGHT = 300;
const TOP = 50;
const BOTTOM = HEIGHT - 14;
const SIDE = 58;
const LEAST_PX = 96;
const GRAB_PX = 16;
const NEAR_PX = 14;
const STEPS = 10;

/** All trials as lines across axes of parameters and figures; ranges on the axes pick trials. */
export function Parallel({ axes, lines, ranges, onRange, picked, onOpen, describe }: Props) {
  const [ref, outer] = useWidth();
  const store = useLitStore();
  const width = Math.max(outer, SIDE * 2 + LEAST_PX * (axes.length - 1));
  const count = axes.length;
  const x = useCallback(
    (i: number) => (count === 1 ? width / 2 : SIDE + (i * (width - 2 * SIDE)) / (count - 1)),
    [count, width],
  );
  const [weak, strong] = useMemo(() => {
    const draw = (shown: readonly ParallelLine[]) =>
      KINDS.map((kind): [MarkKind, string] => [
        kind,
        shown
          .filter((line) => line.kind === kind)
          .map((line) => path(line, x))
          .join(""),
      ]).filter(([, d]) => d !== "");
    const isIn = (line: ParallelLine) => picked.size === 0 || picked.has(line.id);
    return [draw(lines.filter((line) => !isIn(line))), draw(lines.filter(isIn))];
  }, [lines, picked, x]);
  const nearest = (event: MouseEvent<SVGSVGElement>): string | null => {
    const rect = event.currentTarget.getBoundingClientRect();
    const [px, py] = [event.clientX - rect.left, event.clientY - rect.top];
    const shown = picked.size === 0 ? lines : lines.filter((line) => picked.has(line.id));
    let found: string | null = null;
    let least = NEAR_PX;
    for (const line of shown) {
      const at = heightAt(line, px, x, count);
      if (at === null) continue;
      const distance = Math.abs(y(at) - py);
      if (distance < least) [found, least] = [line.id, distance];
    }
    return found;
  };
  return (
    <div ref={ref} style={{ minHeight: HEIGHT }}>
      {outer > 0 && (
        // Pointing is a shortcut: the table of trials has the same rows and links.
        // biome-ignore lint/a11y/useKeyWithClickEvents: see above
        <svg
          className="plot parallel"
          viewBox={`0 0 ${width} ${HEIGHT}`}
          style={{ width }}
          height={HEIGHT}
          onPointerMove={(event) => store.set(nearest(event))}
          onPointerLeave={() => store.set(null)}
          onClick={(event) => {
            const hit = nearest(event);
            if (hit) onOpen(hit);
          }}
        >
          <title>{`${lines.length} trials across ${axes.map((axis) => axis.title).join(", ")}`}</title>
          {weak.map(([kind, d]) => (
            <path key={kind} className={`thread ${kind} weak`} d={d} />
          ))}
          {strong.map(([kind, d]) => (
            <path key={kind} className={`thread ${kind}`} d={d} />
          ))}
          <LitThread lines={lines} x={x} describe={describe} width={width} />
          {axes.map((axis, i) => (
            <Axis key={axis.id} axis={axis} at={x(i)} range={ranges.get(axis.id)} onRange={onRange} />
          ))}
        </svg>
      )}
    </div>
  );
}

interface AxisProps {
  axis: ParallelAxis;
  at: number;
  range: Range | undefined;
  onRange: (axis: string, range: Range | null) => void;
}

function Axis({ axis, at, range, onRange }: AxisProps) {
  const area = useRef<SVGRectElement>(null);
  const [drag, setDrag] = useState<Range | null>(null);
  const place = (event: PointerEvent): number => {
    const rect = area.current?.getBoundingClientRect();
    if (!rect) return 0;
    return Math.min(1, Math.max(0, 1 - (event.clientY - rect.top) / rect.height));
  };
  const end = () => {
    if (drag) onRange(axis.id, Math.abs(drag[1] - drag[0]) < 0.02 ? null : ordered(drag));
    setDrag(null);
  };
  const shown = drag ? ordered(drag) : range;
  return (
    <g className="axis">
      {titleLines(axis.title).map((text, i, all) => (
        <text key={text} className="name" x={at} y={TOP - 12 - 12 * (all.length - i)} textAnchor="middle">
          {text}
        </text>
      ))}
      <text className="tick" x={at} y={TOP - 11} textAnchor="middle">
        {axis.note}
      </text>
      <line className="edge" x1={at} x2={at} y1={y(0)} y2={y(1)} />
      {axis.ticks.map((tick) => (
        <text key={tick.text} className="tick" x={at + 6} y={y(tick.at)} dy="0.34em">
          {tick.text}
        </text>
      ))}
      {shown && (
        <rect
          className="brush"
          x={at - 7}
          width={14}
          y={y(shown[1])}
          height={Math.max(1, y(shown[0]) - y(shown[1]))}
        />
      )}
      <rect
        ref={area}
        className="grab"
        x={at - GRAB_PX}
        width={2 * GRAB_PX}
        y={y(1)}
        height={y(0) - y(1)}
        rx={4}
        tabIndex={0}
        role="slider"
        aria-orientation="vertical"
        aria-label={`Range of ${axis.title}`}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round((shown ? (shown[0] + shown[1]) / 2 : 0.5) * 100)}
        aria-valuetext={spoken(axis, shown)}
        onKeyDown={(event) => {
          const next = byKey(event, axis, range);
          if (next === undefined) return;
          event.preventDefault();
          onRange(axis.id, next);
        }}
        onClick={(event) => event.stopPropagation()}
        onPointerDown={(event) => {
          const from = place(event);
          event.currentTarget.setPointerCapture(event.pointerId);
          setDrag([from, from]);
        }}
        onPointerMove={(event) => {
          if (!drag) return;
          event.stopPropagation();
          setDrag([drag[0], place(event)]);
        }}
        onPointerUp={end}
        onPointerCancel={() => setDrag(null)}
      />
    </g>
  );
}

/** Arrows move a range, with Shift they widen it; Escape removes it. Undefined: the key means something else. */
export function byKey(
  event: Pick<KeyboardEvent, "key" | "shiftKey">,
  axis: Pick<ParallelAxis, "ticks" | "discrete">,
  range: Range | undefined,
): Range | null | undefined {
  if (event.key === "Escape" || event.key === "Delete" || event.key === "Backspace")
    return range ? null : undefined;
  const up = event.key === "ArrowUp" ? 1 : event.key === "ArrowDown" ? -1 : 0;
  if (up === 0) return undefined;
  const step = axis.discrete ? 1 / Math.max(1, axis.ticks.length) : 1 / STEPS;
  if (!range) return up > 0 ? [0, step] : [1 - step, 1];
  const [low, high] = range;
  const rounded = (value: number) => Math.min(1, Math.max(0, Math.round(value / step) * step));
  if (event.shiftKey) return up > 0 ? [low, rounded(high + step)] : [rounded(low - step), high];
  const size = Math.max(step, rounded(high - low));
  const from = Math.min(1 - size, Math.max(0, rounded(low + up * step)));
  return [from, from + size];
}

function ordered([a, b]: Range): Range {
  return a < b ? [a, b] : [b, a];
}

/** What a range contains, in values. */
function spoken(axis: ParallelAxis, range: Range | undefined): string {
  if (!range) return "all";
  if (axis.discrete) {
    return (
      axis.ticks
        .filter((tick) => tick.at >= range[0] && tick.at <= range[1])
        .map((tick) => tick.text)
        .join(", ") || "none"
    );
  }
  return `${Math.round(range[0] * 100)}% to ${Math.round(range[1] * 100)}% of the axis`;
}

function y(at: number): number {
  return BOTTOM - at * (BOTTOM - TOP);
}

function titleLines(title: string): string[] {
  const found: string[] = [];
  for (const part of title.split(/(?<=[-_ ,])/)) {
    const last = found.at(-1);
    if (last !== undefined && last.length + part.length <= 17) found[found.length - 1] = last + part;
    else found.push(part);
  }
  return found.length <= 2 ? found : [found[0] ?? "", `${found.slice(1).join("").slice(0, 15)}…`];
}

function path(line: ParallelLine, x: (i: number) => number): string {
  let open = false;
  return line.places
    .map((at, i) => {
      if (at === null) {
        open = false;
        return "";
      }
      const drawn = `${open ? "L" : "M"}${x(i).toFixed(1)} ${y(at).toFixed(1)}`;
      open = true;
      return drawn;
    })
    .join("");
}

/** Where a line is between two axes. */
function heightAt(line: ParallelLine, px: number, x: (i: number) => number, count: number): number | null {
  for (let i = 0; i + 1 < count; i++) {
    const [from, to] = [x(i), x(i + 1)];
    if (px < from || px > to) continue;
    const [a, b] = [line.places[i], line.places[i + 1]];
    if (a === null || a === undefined || b === null || b === undefined) return null;
    return a + ((px - from) / (to - from)) * (b - a);
  }
  return null;
}

interface LitProps {
  lines: readonly ParallelLine[];
  x: (i: number) => number;
  describe: (id: string) => string;
  width: number;
}

function LitThread({ lines, x, describe, width }: LitProps) {
  const lit = useLit();
  const line = lit === null ? undefined : lines.find((one) => one.id === lit);
  if (!line) return null;
  return (
    <g className="lit">
      <path className="thread" d={path(line, x)} />
      <text x={width / 2} y={HEIGHT - 1} textAnchor="middle">
        {describe(line.id)}
      </text>
    </g>
  );
}
