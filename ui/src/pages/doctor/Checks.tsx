import type { Check, Diagnosis } from "~/api/types";
import { Badge } from "~/components/Badge";
import type { Tone } from "~/components/tones";
import { moment } from "~/format/time";
import { summary } from "./summary";

const TONES: Readonly<Record<Check["status"], Tone>> = { ok: "good", warn: "doubtful", fail: "bad" };

interface Props {
  /** Undefined until the first checks are done. */
  found: Diagnosis | undefined;
  busy: boolean;
  /** When they were made, in seconds since the epoch. */
  at: number;
}

/** The checks in the server's order, each with its remedy unless it passed. */
export function Checks({ found, busy, at }: Props) {
  return (
    <section className="panel" aria-label="Checks" aria-busy={busy}>
      <header>
        <h2>{found ? title(found) : "Checks"}</h2>
        {found && <span className="quiet">{moment(at)}</span>}
        <span className="grow" />
        <span role="status">
          {busy || !found ? (
            <span className="quiet">Checking…</span>
          ) : (
            <span className={toneOf(found)}>{summary(found.checks)}</span>
          )}
        </span>
      </header>
      {found ? (
        <ul className={busy ? "checkup stale" : "checkup"}>
          {found.checks.map((check) => (
            <li key={`${check.name} ${check.detail}`}>
              <Badge tone={TONES[check.status]}>{check.status}</Badge>
              <strong>{check.name}</strong>
              <div>
                <p>{check.detail}</p>
                {check.remedy && check.status !== "ok" && <p className="remedy">{check.remedy}</p>}
              </div>
            </li>
          ))}
        </ul>
      ) : (
        <p className="body quiet">A target that does not answer takes up to a minute.</p>
      )}
    </section>
  );
}

function title(found: Diagnosis): string {
  return found.study === null ? `Target of the ${found.deploy} deployer` : `Study ${found.study}`;
}

function toneOf(found: Diagnosis): Tone {
  const statuses = new Set(found.checks.map((check) => check.status));
  return statuses.has("fail") ? "bad" : statuses.has("warn") ? "doubtful" : "good";
}
