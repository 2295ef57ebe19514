import { GROUP_TEXTS, type PhaseGroup, phaseGroup } from "./lanes";
import { linear, scaleOf, timeTicks } from "./scale";
import { useWidth } from "./useWidth";

export interface TimeLine {
  name: string;
  at: readonly number[];
  values: readonly (number | null)[];
}

export interface PhaseBand {
  phase: string;
  name: string;
  begin: number;
  end: number;
}

interface Props {
  title: string;
  unit: string;
  lines: readonly TimeLine[];
  phases: readonly PhaseBand[];
  length: number;
  /** Where the pointer is, in seconds; shared by all charts of a page. */
  cursor: number | null;
  onCursor: (at: number | null) => void;
  text: (value: number) => string;
}

const HEIGHT = 128;
const LEFT = 52;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 108;

/** What was sampled over the time of a trial, in front of its phases. */
export function OverTime({ title, unit, lines, phases, length, cursor, onCursor, text }: Props) {
  const [ref, width] = useWidth();
  const right = Math.max(LEFT + 1, width - RIGHT);
  const x = linear([0, Math.max(1, length)], [LEFT, right], 8);
  const values = lines.flatMap((line) => line.values.filter((value) => value !== null));
  // A figure that stays at 0, such as preemptions, needs an axis all the same.
  const y = scaleOf([0, ...(values.some((value) => value !== 0) ? values : [1])], [BOTTOM, TOP], 3);
  return (
    <figure ref={ref} className="over-time" style={{ minHeight: HEIGHT + 22 }}>
      <figcaption>
        <strong>{title}</strong> <span className="quiet">{unit}</span>
        <ul className="legend">
          {lines.map((line, i) => (
            <li key={line.name}>
              {lines.length > 1 && <span className={`line series-${i % 8}`} />}
              {lines.length > 1 && line.name}
              {cursor !== null && <span className="value">{valueAt(line, cursor, text)}</span>}
            </li>
          ))}
        </ul>
      </figcaption>
      {width > 0 && (
        <svg
          className="plot"
          viewBox={`0 0 ${width} ${HEIGHT}`}
          height={HEIGHT}
          role="img"
          aria-label={`${title} over time: ${lines.map((line) => spoken(line, unit, text)).join("; ")}`}
          onPointerMove={(event) => {
            const rect = event.currentTarget.getBoundingClientRect();
            const at = x.invert(((event.clientX - rect.left) / rect.width) * width);
            onCursor(at >= 0 && at <= length ? at : null);
          }}
          onPointerLeave={() => onCursor(null)}
        >
          {phases.map((band) => (
            <rect
              key={`${band.phase} ${band.begin}`}
              className={`phase ${phaseGroup(band.phase)}`}
              x={x(band.begin)}
              y={TOP}
              width={Math.max(0, x(band.end) - x(band.begin))}
              height={BOTTOM - TOP}
            >
              <title>{band.name}</title>
            </rect>
          ))}
          {y.ticks.map((tick) => (
            <g key={tick} className="tick">
              <line x1={LEFT} x2={right} y1={y(tick)} y2={y(tick)} />
              <text x={LEFT - 6} y={y(tick)} dy="0.32em" textAnchor="end">
                {text(tick)}
              </text>
            </g>
          ))}
          {timeTicks(length, Math.max(2, Math.floor(width / 90))).map((tick) => (
            <text key={tick} className="tick" x={x(tick)} y={HEIGHT - 4} textAnchor="middle">
              {tick === 0 ? "0 s" : tick < 120 ? `${tick} s` : `${Math.round(tick / 6) / 10} min`}
            </text>
          ))}
          {lines.map((line, i) => (
            <path key={line.name} className={`sampled series-${i % 8}`} d={path(line, x, y)} />
          ))}
          {cursor !== null && <line className="cursor" x1={x(cursor)} x2={x(cursor)} y1={TOP} y2={BOTTOM} />}
        </svg>
      )}
    </figure>
  );
}

/** What the colors of the phases mean. */
export function PhaseLegend({ phases }: { phases: readonly PhaseBand[] }) {
  const groups = [...new Set(phases.map((band) => phaseGroup(band.phase)))];
  return (
    <ul className="legend">
      {groups.map((group: PhaseGroup) => (
        <li key={group}>
          <span className={`swatch ${group}`} />
          {GROUP_TEXTS[group]}
        </li>
      ))}
    </ul>
  );
}

function path(line: TimeLine, x: (v: number) => number, y: (v: number) => number): string {
  let drawn = "";
  let open = false;
  line.values.forEach((value, i) => {
    if (value === null) {
      open = false;
      return;
    }
    drawn += `${open ? "L" : "M"}${x(line.at[i] ?? 0).toFixed(1)} ${y(value).toFixed(1)}`;
    open = true;
  });
  return drawn;
}

/** The last value before a moment; a gauge keeps it until the next sample. */
function valueAt(line: TimeLine, moment: number, text: (value: number) => string): string {
  const i = line.at.findLastIndex((at) => at <= moment);
  const value = line.values[i] ?? null;
  return value === null ? "–" : text(value);
}

function spoken(line: TimeLine, unit: string, text: (value: number) => string): string {
  const known = line.values.filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  return `${line.name} from ${text(low)} to ${text(high)} ${unit}`;
}
