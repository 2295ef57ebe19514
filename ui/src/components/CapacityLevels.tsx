import type { StudyDetails } from "~/api/types";
import { shownUnit } from "~/format/numbers";
import { Badge } from "./Badge";
import { Figure } from "./Figure";
import type { Tone } from "./tones";

type CapacityCurve = StudyDetails["trials"][number]["capacities"][number];

const TONES: Record<string, Tone> = { certified: "good", refuted: "bad", saturated: "bad", open: "doubtful" };

interface Props {
  curve: CapacityCurve;
  path: string;
  /** Whose search it is, on pages with several. */
  of?: string;
}

/** What a capacity search found, and every level that it rests on. */
export function CapacityLevels({ curve, path, of }: Props) {
  const { kind } = curve;
  const levels = curve.levels.map((level, i) => ({ level, i })).sort((a, b) => a.level.load - b.level.load);
  const unit = kind ? shownUnit(kind.unit) : "";
  const [metric, statistic] = measurePath(curve.figure);
  const label = ["Levels of", curve.scenario, of].filter(Boolean).join(" ");
  return (
    <>
      <ul className="body plain-list">
        {curve.answer.map((line) => (
          <li key={line}>{line.charAt(0).toUpperCase() + line.slice(1)}</li>
        ))}
      </ul>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
      <section className="scroll" tabIndex={0} aria-label={label}>
        <table>
          <thead>
            <tr>
              <th scope="col" className="number">
                Load
                <small>{curve.load_unit}</small>
              </th>
              <th scope="col">Verdict</th>
              <th scope="col" className="number">
                Requests
              </th>
              {kind && (
                <th scope="col" className="number">
                  {kind.title}
                  <small>
                    {unit}
                    {curve.bound && ` · ${curve.bound.replace(/^.* (<=|>=) /, "$1 ").replace("<=", "≤")}`}
                  </small>
                </th>
              )}
              <th scope="col" className="number">
                Output throughput
                <small>tokens/s</small>
              </th>
              <th scope="col">Refuted by</th>
            </tr>
          </thead>
          <tbody>
            {levels.map(({ level, i }) => (
              <tr key={`${level.load} ${i}`}>
                <td className="number">
                  <data value={level.load} data-json={`${path}.levels.${i}.load`}>
                    {level.text.replace(` ${curve.load_unit}`, "").replace("x speed", "")}
                  </data>
                </td>
                <td>
                  <Badge tone={TONES[level.verdict] ?? "doubtful"}>{level.verdict}</Badge>
                </td>
                <td className="number">
                  <Figure path={`${path}.levels.${i}.measurement.arrived`} value={level.requests} />
                </td>
                {kind && (
                  <td className="number">
                    <Figure
                      path={`${path}.levels.${i}.measurement.distributions.${metric}.${statistic}`}
                      value={level.bounded}
                      unit={kind.unit}
                      short
                    />
                  </td>
                )}
                <td className="number">
                  <Figure
                    path={`${path}.levels.${i}.measurement.scalars.output_throughput`}
                    value={level.values.output_throughput}
                    unit="tokens/s"
                    short
                  />
                </td>
                <td>{level.refuted_by}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </>
  );
}

/** `p99 ttft` as parts of the place of a distribution's statistic. */
function measurePath(figure: string): [string, string] {
  const [statistic = "", metric = ""] = figure.split(" ");
  return [metric, statistic.replace(".", "_")];
}
