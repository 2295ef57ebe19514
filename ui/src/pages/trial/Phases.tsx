import type { TrialDetails } from "~/api/types";
import { Figure } from "~/components/Figure";
import { duration } from "~/format/time";
import { pieces } from "~/plots/lanes";

/** What the trial spent its time with. */
export function Phases({ details }: { details: TrialDetails }) {
  const phases = Object.entries(details.trial.phases).filter(([, seconds]) => seconds > 0);
  if (phases.length === 0) return null;
  const total = phases.reduce((sum, [, seconds]) => sum + seconds, 0);
  let at = 0;
  return (
    <section className="panel" aria-label="Phases">
      <header>
        <h2>Phases</h2>
        <span className="quiet">{duration(total)}</span>
      </header>
      <div className="body">
        <svg className="strip" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
          {pieces(details.trial.phases).map((piece) => {
            const from = at;
            at += (piece.seconds / total) * 100;
            return <rect key={from} className={piece.group} x={from} width={at - from} height="4" />;
          })}
        </svg>
      </div>
      <table>
        <tbody>
          {phases.map(([phase, seconds]) => (
            <tr key={phase}>
              <th scope="row">{phase}</th>
              <td className="number">
                <Figure path={`trial.phases.${phase}`} value={seconds} /> s
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
