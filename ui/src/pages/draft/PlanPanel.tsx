import type { Checked } from "~/api/drafting";
import type { Plan } from "~/api/types";
import { Problem } from "~/components/Problem";
import { usd } from "~/format/numbers";
import { shellLine } from "~/format/shell";
import { duration } from "~/format/time";
import { type PlacedProblem, problemText } from "./problems";

interface Props {
  /** The last plan; null until there is one. */
  checked: Checked | null;
  /** Whether it is of an earlier text. */
  stale: boolean;
  problems: readonly PlacedProblem[];
  /** An error that is not about the study. */
  error: unknown;
  checking: boolean;
  preflight: boolean;
  onPreflight: () => void;
}

/** What the study would do: its problems, or else its plan. */
export function PlanPanel({ checked, stale, problems, error, checking, preflight, onPreflight }: Props) {
  const wrong = problems.length;
  return (
    <section className="panel plan" aria-label="Plan" aria-busy={checking}>
      <header>
        <h2>Plan</h2>
        <span className="grow" />
        <span className={wrong > 0 ? "bad" : "quiet"} role="status">
          {wrong > 0
            ? `${wrong} ${wrong === 1 ? "problem" : "problems"}`
            : checking
              ? "Checking…"
              : checked
                ? "Valid"
                : ""}
        </span>
      </header>
      <div className="body">
        {wrong > 0 && <Problems problems={problems} />}
        <Problem error={error} />
        {checked && (
          <div className={stale || wrong > 0 ? "stale" : undefined}>
            <Facts plan={checked.plan} />
            <Notes checked={checked} />
            <Checks plan={checked.plan} preflight={preflight} busy={checking} onPreflight={onPreflight} />
            <Launches plan={checked.plan} />
          </div>
        )}
        {!checked && wrong === 0 && !error && (
          <p className="quiet">
            {checking ? "Checking the study…" : "The plan appears here once there is a study."}
          </p>
        )}
      </div>
    </section>
  );
}

function Problems({ problems }: { problems: readonly PlacedProblem[] }) {
  return (
    <ul className="problems">
      {problems.map((problem) => (
        <li key={`${problem.path} ${problem.why}`}>
          <button type="button" className="plain" onClick={() => show(problem)}>
            <strong>{problem.path || "study"}</strong>
          </button>
          <span className="bad">{problemText(problem)}</span>
        </li>
      ))}
    </ul>
  );
}

/** Brings the field of a problem into view and focuses it. */
function show(problem: PlacedProblem): void {
  const fields = [...document.querySelectorAll<HTMLElement>("[data-path]")].filter((field) =>
    problem.path.startsWith(field.dataset.path ?? "-"),
  );
  // The innermost one.
  const field = fields.sort((one, other) => depth(other) - depth(one))[0];
  const box = field?.closest("details");
  if (box) box.open = true;
  const control = field?.parentElement?.querySelector<HTMLElement>("input, select, textarea");
  (control ?? document.querySelector<HTMLElement>(".yaml textarea"))?.focus();
}

function depth(field: HTMLElement): number {
  return field.dataset.path?.length ?? 0;
}

function Facts({ plan }: { plan: Plan }) {
  const space = plan.space_size === null ? "continuous" : `${count(plan.space_size)} points`;
  const launchable = plan.launchable === null ? "" : `, ${count(plan.launchable)} launchable`;
  return (
    <dl className="plan-facts">
      <Fact name="Search space" value={`${space}${launchable}`} />
      <Fact name="Launches" value={launchesText(plan)} />
      <Fact name="Windows per launch" value={count(plan.windows)} />
      <Fact name="Time" value={timeText(plan)} />
      {plan.estimated_usd !== null && <Fact name="Cost" value={`about ${usd(plan.estimated_usd)}`} />}
      {plan.simulated && <Fact name="Simulated" value={`${plan.simulated}; no real GPU is measured`} />}
      {plan.standing && plan.standing.state === "resumes" && (
        <Fact name="Stored results" value={standingText(plan)} />
      )}
    </dl>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}

function launchesText(plan: Plan): string {
  const { trials, repeats, fewest_repeats: fewest } = plan;
  if (repeats === 0) return `up to ${count(trials)}`;
  const proof =
    fewest > 0 && fewest < repeats ? `${count(fewest)} to ${count(repeats)}` : `up to ${count(repeats)}`;
  return `up to ${count(trials)} to search, ${proof} to prove`;
}

function timeText(plan: Plan): string {
  const { earliest_s: earliest, estimated_s: estimated, longest_s: longest } = plan;
  const from = earliest > 0 && earliest < estimated ? `${duration(earliest)} to ` : "";
  const most = longest > estimated ? `, at most ${duration(longest)}` : "";
  return `about ${from}${duration(estimated)}${most}`;
}

function standingText(plan: Plan): string {
  const standing = plan.standing;
  if (!standing) return "";
  const aside = standing.set_aside + standing.former + standing.reopened;
  return `${count(standing.stored)} count${aside > 0 ? `, ${count(aside)} set aside` : ""}`;
}

function Notes({ checked }: { checked: Checked }) {
  const notes = [...checked.study.notes, ...(checked.plan.standing?.notes ?? [])];
  if (notes.length === 0) return null;
  return (
    <ul className="notes">
      {notes.map((note) => (
        <li key={note}>{note}</li>
      ))}
    </ul>
  );
}

interface ChecksProps {
  plan: Plan;
  preflight: boolean;
  busy: boolean;
  onPreflight: () => void;
}

const TONES = { ok: "good", warn: "doubtful", fail: "bad" } as const;

function Checks({ plan, preflight, busy, onPreflight }: ChecksProps) {
  if (!preflight) {
    return (
      <p className="actions">
        <button type="button" onClick={onPreflight}>
          Check the server's machine too
        </button>
      </p>
    );
  }
  return (
    <>
      <h3>Checks of the server's machine</h3>
      <ul className="checks" aria-busy={busy}>
        {plan.checks.map((check) => (
          <li key={`${check.name} ${check.detail}`}>
            <span className={`badge ${TONES[check.status]}`}>{check.status}</span>{" "}
            <span>
              {check.name}: {check.detail}
              {check.remedy && check.status !== "ok" && <span className="quiet">; {check.remedy}</span>}
            </span>
          </li>
        ))}
        {plan.checks.length === 0 && (
          <li className="quiet">{busy ? "Checking…" : "There is nothing to check."}</li>
        )}
      </ul>
    </>
  );
}

function Launches({ plan }: { plan: Plan }) {
  if (plan.launches.length === 0) return null;
  return (
    <details>
      <summary>Example launches</summary>
      {plan.launches.map((launch) => {
        const line =
          launch.command.length > 0 ? shellLine(launch.command) : shellLine(launch.argv, launch.env);
        return (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
          <pre key={line} tabIndex={0}>
            {line}
          </pre>
        );
      })}
    </details>
  );
}
