import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useEffect } from "react";
import { isOffline } from "~/api/client";
import { activityText, unfinished } from "~/api/live";
import { studyQuery, trialQuery } from "~/api/queries";
import type { TrialDetails } from "~/api/types";
import { useLive } from "~/api/useLive";
import { AllStudies } from "~/components/AllStudies";
import { Badge } from "~/components/Badge";
import { Copyable } from "~/components/Copyable";
import { Simulated } from "~/components/Simulated";
import { Empty, Failed, Waiting } from "~/components/states";
import type { Tone } from "~/components/tones";
import { Capacities } from "./Capacities";
import { Changes } from "./Changes";
import { Facts } from "./Facts";
import { HistoryPanel } from "./HistoryPanel";
import { LatenciesPanel } from "./LatenciesPanel";
import { Log } from "./Log";
import { Phases } from "./Phases";
import { Rationale } from "./Rationale";
import { Resolved } from "./Resolved";
import { Slos } from "./Slos";
import { Windows } from "./Windows";

export function TrialPage() {
  const { name, trial } = useParams({ from: "/signed-in/studies/$name/trials/$trial" });
  useEffect(() => {
    document.title = `Trial ${trial} of ${name} · Autotuner`;
  }, [name, trial]);
  if (!/^\d{1,9}$/.test(trial)) {
    return (
      <Empty title={`"${trial}" is not the number of a trial`}>
        <Link className="button" to="/studies/$name" params={{ name }}>
          Back to {name}
        </Link>
      </Empty>
    );
  }
  return <Numbered key={`${name} ${trial}`} name={name} number={Number(trial)} />;
}

function Numbered({ name, number }: { name: string; number: number }) {
  const { data, error } = useQuery(trialQuery(name, number));
  if (!data && error) return <Failed error={error} />;
  if (!data) return <Waiting what="the trial" />;
  return <One details={data} name={name} />;
}

function One({ details, name }: { details: TrialDetails; name: string }) {
  const { trial } = details;
  const { live } = useLive(name);
  const base = useQuery(studyQuery(name)).data?.default ?? null;
  const activity = live.running.get(trial.number);
  const running = unfinished(trial) && activity !== undefined;
  const message = trial.failure?.message;
  const isNews = (reason: string) => message === undefined || !reason.endsWith(message);
  return (
    <>
      <Crumbs name={name} number={trial.number} />
      <Simulated
        sentence={
          details.simulated ? "the numbers of this trial are simulated: no real GPU was measured" : ""
        }
      />
      <header className="study-head">
        <div className="title">
          <h1>Trial {trial.number}</h1>
          <Badge tone={details.outcome.tone as Tone} live={running}>
            {running ? activityText(activity) : details.outcome.text}
          </Badge>
          {details.rank !== null && <span className="quiet">rank {details.rank}</span>}
          <span className="grow" />
          {base !== null && base !== trial.number && (
            <Link
              className="button"
              to="/studies/$name/compare"
              params={{ name }}
              search={{ trials: `${base},${trial.number}` }}
            >
              Compare
            </Link>
          )}
        </div>
        <p className="label mono">{details.label}</p>
        {details.reasons.filter(isNews).map((reason) => (
          <p key={reason} className="reason">
            {reason}
          </p>
        ))}
        <Facts details={details} name={name} />
      </header>
      {trial.failure && (
        <section className="panel failure" aria-label="Failure">
          <header>
            <h2>Failed: {trial.failure.cause.replaceAll("_", " ")}</h2>
          </header>
          <div className="body">
            <p>{trial.failure.message}</p>
            {trial.failure.remedy && (
              <p>
                <strong>What to do:</strong> {trial.failure.remedy}
              </p>
            )}
            {typeof trial.failure.exit_code === "number" && (
              <p className="quiet">Exit code {trial.failure.exit_code}</p>
            )}
          </div>
        </section>
      )}
      <div className="trial-grid">
        <Changes details={details} />
        <Slos details={details} />
        <Phases details={details} />
        <Rationale details={details} name={name} />
      </div>
      <Capacities name={name} number={trial.number} />
      <LatenciesPanel details={details} name={name} />
      <Windows details={details} />
      <HistoryPanel details={details} name={name} />
      {details.command !== "" && (
        <section className="panel" aria-label="Command">
          <header>
            <h2>Command</h2>
          </header>
          <div className="body">
            <Copyable text={details.command} label="command" />
          </div>
        </section>
      )}
      <Resolved resolved={trial.resolved} />
      {(!isOffline() || trial.failure) && (
        <Log name={name} number={trial.number} running={unfinished(trial)} />
      )}
    </>
  );
}

function Crumbs({ name, number }: { name: string; number: number }) {
  const { data } = useQuery(studyQuery(name));
  const numbers = data?.trials.map((row) => row.number).sort((a, b) => a - b) ?? [];
  const at = numbers.indexOf(number);
  const link = (to: number | undefined, text: string) =>
    to === undefined ? null : (
      <Link to="/studies/$name/trials/$trial" params={{ name, trial: String(to) }}>
        {text}
      </Link>
    );
  return (
    <nav className="crumbs" aria-label="Breadcrumb">
      <AllStudies />
      <Link to="/studies/$name" params={{ name }}>
        {name}
      </Link>
      <span className="steps">
        {link(at > 0 ? numbers[at - 1] : undefined, "← previous")}
        {link(at >= 0 ? numbers[at + 1] : undefined, "next →")}
      </span>
    </nav>
  );
}
