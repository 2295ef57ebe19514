import { scaleOf } from "./scale";
import { useWidth } from "./useWidth";

export interface RepeatRow {
  id: string;
  name: string;
  kind: "default" | "best" | "other";
  values: readonly number[];
}

const ROW_PX = 34;
const NAME_PX = 92;

/** Every repeat of the proof as a dot, and the mean of each configuration. */
export function Repeats({
  rows,
  title,
  axisText,
}: {
  rows: readonly RepeatRow[];
  title: string;
  axisText: (value: number) => string;
}) {
  const [ref, width] = useWidth();
  const height = rows.length * ROW_PX + 40;
  const all = rows.flatMap((row) => row.values);
  const x = scaleOf(all, [NAME_PX, Math.max(NAME_PX + 1, width - 16)], Math.max(2, Math.floor(width / 110)));
  return (
    <div ref={ref} style={{ minHeight: height }}>
      {width > 0 && (
        <svg
          className="plot repeats"
          viewBox={`0 0 ${width} ${height}`}
          height={height}
          role="img"
          aria-label={`${title} of all repeats; the table beside it has the values`}
        >
          {x.ticks.map((tick) => (
            <g key={tick} className="tick">
              <line x1={x(tick)} x2={x(tick)} y1={4} y2={height - 36} />
              <text x={x(tick)} y={height - 22} textAnchor="middle">
                {axisText(tick)}
              </text>
            </g>
          ))}
          <text className="axis" x={(x(x.domain[0]) + x(x.domain[1])) / 2} y={height - 5} textAnchor="middle">
            {title}
          </text>
          {rows.map((row, i) => {
            const y = i * ROW_PX + ROW_PX / 2 + 2;
            const mean = row.values.reduce((sum, value) => sum + value, 0) / row.values.length;
            return (
              <g key={row.id} className={`repeat ${row.kind}`}>
                <text x={0} y={y} dy="0.34em">
                  {row.name}
                </text>
                {row.values.map((value, j) => (
                  // Repeats have no identity of their own here but their order.
                  // biome-ignore lint/suspicious/noArrayIndexKey: see above
                  <circle key={j} cx={x(value)} cy={y} r={4.5} />
                ))}
                {row.values.length > 0 && <path d={`M${x(mean)} ${y - 11}v22`} />}
              </g>
            );
          })}
        </svg>
      )}
    </div>
  );
}
