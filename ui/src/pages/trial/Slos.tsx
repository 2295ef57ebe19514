import type { TrialDetails } from "~/api/types";
import { Badge } from "~/components/Badge";
import { Figure } from "~/components/Figure";
import { metricOf } from "~/format/metrics";

/** The study's SLOs with what was measured. */
export function Slos({ details }: { details: TrialDetails }) {
  if (details.slos.length === 0) return null;
  return (
    <section className="panel" aria-label="SLOs">
      <header>
        <h2>SLOs</h2>
      </header>
      <table>
        <tbody>
          {details.slos.map((one, i) => (
            <tr key={one.slo}>
              <th scope="row">{one.slo}</th>
              <td className="number">
                <Figure path={`slos.${i}.value`} value={one.value} unit={metricOf(metricIn(one.slo)).unit} />
              </td>
              <td>
                {one.met === null ? (
                  <Badge tone="doubtful">undecided</Badge>
                ) : (
                  <Badge tone={one.met ? "good" : "bad"}>{one.met ? "met" : "missed"}</Badge>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** `p99 ttft <= 400ms at concurrency=8` is about `ttft`. */
function metricIn(slo: string): string | undefined {
  return slo
    .split(/ (?:<=|>=) /)[0]
    ?.split(" of ")[0]
    ?.split(" ")
    .at(-1);
}
