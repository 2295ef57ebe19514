import { useLit, useLitStore } from "~/components/lit";
import { duration } from "~/format/time";
import { activeAxis, GROUP_TEXTS, lanesOf, type PhaseGroup, pieces } from "./lanes";
import { linear, timeTicks } from "./scale";
import { useWidth } from "./useWidth";

export interface TimelineBar {
  id: string;
  start: number;
  end: number;
  phases: Readonly<Record<string, number>>;
  name: string;
  running: boolean;
}

const MOST_PX = 220;
const LANE_PX = 22;
const AXIS_PX = 26;
/** Idle time that is shown: waiting between two trials. More is cut out. */
const IDLE_S = 120;

/** `1:30`, `2:05:00`. */
function clock(seconds: number): string {
  const parts = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60), Math.floor(seconds % 60)];
  const shown = parts[0] === 0 ? parts.slice(1) : parts;
  return shown.map((part, i) => (i === 0 ? String(part) : String(part).padStart(2, "0"))).join(":");
}

/** When each trial ran, and what it spent its time with. */
export function Timeline({ bars, onOpen }: { bars: readonly TimelineBar[]; onOpen: (id: string) => void }) {
  const [ref, width] = useWidth();
  const lit = useLit();
  const store = useLitStore();
  const axis = activeAxis(bars, IDLE_S);
  const lanes = lanesOf(bars);
  const count = Math.max(1, ...[...lanes.values()].map((lane) => lane + 1));
  const lane = Math.min(LANE_PX, MOST_PX / count);
  const height = Math.ceil(count * lane) + AXIS_PX;
  const x = linear(
    [0, Math.max(1, axis.length)],
    [1, Math.max(2, width - 2)],
    Math.max(2, Math.floor(width / 110)),
  );
  const groups = new Set<PhaseGroup>();
  return (
    <div ref={ref} style={{ minHeight: height }}>
      {width > 0 && (
        <svg
          className="plot timeline"
          viewBox={`0 0 ${width} ${height}`}
          height={height}
          role="img"
          aria-label={`Timeline of ${bars.length} trials`}
        >
          {bars.map((bar) => {
            const top = (lanes.get(bar.id) ?? 0) * lane;
            let at = axis.at(bar.start);
            const ends = axis.at(bar.end);
            const inner = Math.max(1, lane - (lane > 8 ? 4 : 1));
            return (
              // Pointing is a shortcut: the table of trials has the same links.
              // biome-ignore lint/a11y/noStaticElementInteractions: see above
              <g
                key={bar.id}
                className={`bar ${bar.id === lit ? "lit" : ""}`}
                onPointerEnter={() => store.set(bar.id)}
                onPointerLeave={() => store.set(null)}
                onClick={() => onOpen(bar.id)}
              >
                <title>{`${bar.name}: ${duration(bar.end - bar.start)}`}</title>
                <rect
                  className="whole"
                  x={x(at)}
                  y={top}
                  width={Math.max(1, x(ends) - x(at) - 1)}
                  height={inner}
                />
                {pieces(bar.phases).map((piece) => {
                  groups.add(piece.group);
                  const from = at;
                  at = Math.min(ends, at + piece.seconds);
                  return (
                    <rect
                      key={`${piece.group}-${from}`}
                      className={piece.group}
                      x={x(from)}
                      y={top}
                      width={Math.max(0, x(at) - x(from) - (at >= ends ? 1 : 0))}
                      height={inner}
                    />
                  );
                })}
                {x(ends) - x(axis.at(bar.start)) > 22 && lane > 12 && (
                  <text x={x(axis.at(bar.start)) + 5} y={top + inner / 2} dy="0.34em">
                    {bar.id}
                  </text>
                )}
              </g>
            );
          })}
          {axis.cuts.map((cut) => (
            <line key={cut} className="cut" x1={x(cut)} x2={x(cut)} y1={0} y2={count * lane} />
          ))}
          {timeTicks(axis.length, Math.floor(width / 90)).map((tick) => (
            <text
              key={tick}
              className="tick"
              x={Math.min(x(tick), width - 24)}
              y={height - 6}
              textAnchor={tick === 0 ? "start" : "middle"}
            >
              {clock(tick)}
            </text>
          ))}
        </svg>
      )}
      <ul className="legend">
        {[...groups].map((group) => (
          <li key={group}>
            <span className={`swatch ${group}`} />
            {GROUP_TEXTS[group]}
          </li>
        ))}
        {axis.cuts.length > 0 && <li>dashed line: idle time left out</li>}
      </ul>
    </div>
  );
}
