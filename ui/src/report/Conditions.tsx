import type { StudyDetails, StudyEvidence } from "~/api/types";
import { Copyable } from "~/components/Copyable";

/** What the numbers depend on: hardware, programs, images, files. */
export function Conditions({ evidence }: { evidence: StudyEvidence }) {
  return (
    <section className="panel" aria-label="Conditions">
      <header>
        <h2>Conditions</h2>
        <span className="quiet small">what the numbers depend on, as recorded during the study</span>
      </header>
      <dl className="body conditions">
        {evidence.conditions.map((one) => (
          <div key={one.name}>
            <dt>{one.name}</dt>
            <dd className="mono">{one.text}</dd>
          </div>
        ))}
        {evidence.learned.length > 0 && (
          <div>
            <dt>learned from</dt>
            <dd>
              {evidence.learned.map((text) => (
                <p key={text}>{text}</p>
              ))}
              <p className="quiet small">Earlier studies; no result of theirs is compared here.</p>
            </dd>
          </div>
        )}
      </dl>
    </section>
  );
}

/** The study file, and the command that runs it again. */
export function Reproduce({ details, evidence }: { details: StudyDetails; evidence: StudyEvidence }) {
  const file = `${details.name}.yaml`;
  return (
    <section className="panel" aria-label="Reproduce">
      <header>
        <h2>Reproduce</h2>
        <span className="quiet small">
          save the study file as <span className="mono">{file}</span> and run it
        </span>
      </header>
      <div className="body reproduce">
        <Copyable text={`autotuner run ${file}`} label="command to reproduce" />
        <Copyable text={evidence.file.trimEnd()} label="study file" />
      </div>
    </section>
  );
}
