import type { StudyEvidence } from "~/api/types";

type Failure = StudyEvidence["failures"][number];

/** Why trials failed, and what to do about it. */
export function FailuresPanel({ failures }: { failures: readonly Failure[] }) {
  return (
    <section className="panel" aria-label="Failures">
      <header>
        <h2>Failures</h2>
      </header>
      <div className="body failures">
        {failures.map((one) => (
          <article key={`${one.cause} ${one.message}`}>
            <h3>
              {one.cause}: {one.message}
            </h3>
            <p className="quiet">
              {one.trials.charAt(0).toUpperCase() + one.trials.slice(1)}. Fault: {one.fault}.
            </p>
            {one.remedy && (
              <p>
                <strong>What to do:</strong> {one.remedy}
              </p>
            )}
            {one.logs.map((log) => (
              <details key={log.trial}>
                <summary>
                  Last log lines of trial {log.trial}, {log.label}
                  {log.exit_code !== null && ` (exit code ${log.exit_code})`}
                </summary>
                <pre>{log.tail}</pre>
              </details>
            ))}
            {one.more_logs > 0 && (
              <p className="small quiet">{one.more_logs} more logs are stored; see autotuner logs.</p>
            )}
          </article>
        ))}
      </div>
    </section>
  );
}
