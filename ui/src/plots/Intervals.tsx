import { percent } from "~/format/numbers";
import { scaleOf } from "./scale";
import { useWidth } from "./useWidth";

export interface Interval {
  id: string;
  name: string;
  amount: number;
  low: number | null;
  high: number | null;
  good: boolean | null;
}

const ROW_PX = 34;
const NAME_PX = 92;

/** Changes with their intervals, around zero: an interval that excludes it shows a difference. */
export function Intervals({ intervals, title }: { intervals: readonly Interval[]; title: string }) {
  const [ref, width] = useWidth();
  const height = intervals.length * ROW_PX + 40;
  const values = intervals.flatMap((one) => [one.amount, one.low ?? one.amount, one.high ?? one.amount]);
  const x = scaleOf(
    [0, ...values],
    [NAME_PX, Math.max(NAME_PX + 1, width - 16)],
    Math.max(2, Math.floor(width / 110)),
  );
  return (
    <div ref={ref} style={{ minHeight: height }}>
      {width > 0 && (
        <svg
          className="plot intervals"
          viewBox={`0 0 ${width} ${height}`}
          height={height}
          role="img"
          aria-label={`${title}: ${intervals.map(spoken).join("; ")}`}
        >
          {x.ticks.map((tick) => (
            <g key={tick} className="tick">
              <line x1={x(tick)} x2={x(tick)} y1={4} y2={height - 36} />
              <text x={x(tick)} y={height - 22} textAnchor="middle">
                {percent(tick)}
              </text>
            </g>
          ))}
          <line className="zero" x1={x(0)} x2={x(0)} y1={0} y2={height - 36} />
          <text className="axis" x={(x(x.domain[0]) + x(x.domain[1])) / 2} y={height - 5} textAnchor="middle">
            {title}
          </text>
          {intervals.map((one, i) => {
            const y = i * ROW_PX + ROW_PX / 2 + 2;
            const tone = one.good === null ? "" : one.good ? "good" : "bad";
            return (
              <g key={one.id} className={`interval ${tone}`}>
                <text x={0} y={y} dy="0.34em">
                  {one.name}
                </text>
                {one.low !== null && one.high !== null && (
                  <>
                    <line x1={x(one.low)} x2={x(one.high)} y1={y} y2={y} />
                    <path d={`M${x(one.low)} ${y - 6}v12M${x(one.high)} ${y - 6}v12`} />
                  </>
                )}
                <circle cx={x(one.amount)} cy={y} r={5} />
              </g>
            );
          })}
        </svg>
      )}
    </div>
  );
}

function spoken(one: Interval): string {
  const ends = one.low === null || one.high === null ? "" : `, ${percent(one.low)} to ${percent(one.high)}`;
  return `${one.name} ${percent(one.amount)}${ends}`;
}
