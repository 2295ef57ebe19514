import { type PointerEvent, useMemo, useRef, useState } from "react";
import { useLit, useLitStore } from "~/components/lit";
import type { Box } from "./Frame";
import { type Mark, nearest, paths, shape } from "./marks";

interface Props {
  box: Box;
  marks: readonly Mark[];
  /** Ids that were picked; empty: none, so that all count. */
  picked: ReadonlySet<string>;
  onPick: (ids: readonly string[]) => void;
  onOpen: (id: string) => void;
  /** What a mark stands for, for its label. */
  describe: (id: string) => string;
}

const DRAG_PX = 5;

type Rectangle = { x0: number; y0: number; x1: number; y1: number };

/** Marks that can be pointed at, opened, and picked by dragging a rectangle around them. */
export function Points({ box, marks, picked, onPick, onOpen, describe }: Props) {
  const store = useLitStore();
  const area = useRef<SVGRectElement>(null);
  const [drag, setDrag] = useState<Rectangle | null>(null);
  const [strong, weak] = useMemo(() => {
    const chosen = picked.size === 0 ? marks : marks.filter((mark) => picked.has(mark.id));
    const rest = picked.size === 0 ? [] : marks.filter((mark) => !picked.has(mark.id));
    return [paths(chosen), paths(rest)];
  }, [marks, picked]);
  const place = (event: PointerEvent): [number, number] => {
    const svg = area.current?.ownerSVGElement;
    const rect = svg?.getBoundingClientRect();
    const factor = rect && rect.width > 0 ? box.width / rect.width : 1;
    return [(event.clientX - (rect?.left ?? 0)) * factor, (event.clientY - (rect?.top ?? 0)) * factor];
  };
  const move = (event: PointerEvent) => {
    const [x, y] = place(event);
    if (drag) setDrag({ ...drag, x1: x, y1: y });
    else store.set(nearest(marks, x, y)?.id ?? null);
  };
  const end = (event: PointerEvent) => {
    const [x, y] = place(event);
    if (drag && Math.hypot(x - drag.x0, y - drag.y0) > DRAG_PX)
      onPick(within(marks, { ...drag, x1: x, y1: y }));
    else {
      const hit = nearest(marks, x, y);
      if (hit) onOpen(hit.id);
      else onPick([]);
    }
    setDrag(null);
  };
  return (
    <g>
      {weak.map(([kind, d]) => (
        <path key={kind} className={`mark ${kind} weak`} d={d} />
      ))}
      {strong.map(([kind, d]) => (
        <path key={kind} className={`mark ${kind}`} d={d} />
      ))}
      <LitMark box={box} marks={marks} describe={describe} />
      {drag && (
        <rect
          className="brush"
          x={Math.min(drag.x0, drag.x1)}
          y={Math.min(drag.y0, drag.y1)}
          width={Math.abs(drag.x1 - drag.x0)}
          height={Math.abs(drag.y1 - drag.y0)}
        />
      )}
      <rect
        ref={area}
        className="area"
        x={box.left}
        y={0}
        width={Math.max(0, box.width - box.left)}
        height={box.bottom}
        onPointerDown={(event) => {
          const [x, y] = place(event);
          event.currentTarget.setPointerCapture(event.pointerId);
          setDrag({ x0: x, y0: y, x1: x, y1: y });
        }}
        onPointerMove={move}
        onPointerUp={end}
        onPointerCancel={() => setDrag(null)}
        onPointerLeave={() => store.set(null)}
      />
    </g>
  );
}

function within(marks: readonly Mark[], { x0, y0, x1, y1 }: Rectangle): string[] {
  const inside = (value: number, a: number, b: number) => value >= Math.min(a, b) && value <= Math.max(a, b);
  return marks.filter((mark) => inside(mark.x, x0, x1) && inside(mark.y, y0, y1)).map((mark) => mark.id);
}

function LitMark({ box, marks, describe }: Pick<Props, "box" | "marks" | "describe">) {
  const lit = useLit();
  const mark = lit === null ? undefined : marks.find((one) => one.id === lit);
  if (!mark) return null;
  const end = mark.x > (box.left + box.right) / 2;
  const below = mark.y < box.top + 24;
  return (
    <g className="lit">
      <circle cx={mark.x} cy={mark.y} r={9} />
      <path className={`mark ${mark.kind}`} d={shape(mark.kind, mark.x, mark.y, 1.25)} />
      <text x={mark.x + (end ? -12 : 12)} y={mark.y + (below ? 18 : -10)} textAnchor={end ? "end" : "start"}>
        {describe(mark.id)}
      </text>
    </g>
  );
}
