import type { ReactNode } from "react";
import type { StudyDetails, StudyEvidence } from "~/api/types";
import { Badge } from "~/components/Badge";
import { studyTone } from "~/components/tones";
import { duration, moment } from "~/format/time";

/** What was tuned, when, and where. */
export function ReportHeader({ details, evidence }: { details: StudyDetails; evidence: StudyEvidence }) {
  const { started_at: started, finished_at: finished } = evidence;
  return (
    <header className="study-head">
      <div className="title">
        <h1>{details.name}</h1>
        <Badge tone={studyTone(details.standing)}>{details.standing}</Badge>
      </div>
      <dl className="facts">
        <Fact name="Model">
          <span className="mono">{details.model}</span>
        </Fact>
        <Fact name="Engine">{details.engines.join(", ")}</Fact>
        <Fact name="Deployer">{details.deployers.join(", ")}</Fact>
        <Fact name="Goals">{goals(details)}</Fact>
        {started !== null && <Fact name="Started">{moment(started)}</Fact>}
        {started !== null && finished !== null && <Fact name="Took">{duration(finished - started)}</Fact>}
        <Fact name="Trials">{evidence.counts}</Fact>
        {details.why && details.state !== "running" && <Fact name="Ended">{details.why}</Fact>}
      </dl>
    </header>
  );
}

function goals(details: StudyDetails): string {
  const objectives = details.goals.flatMap((goal) =>
    goal.objective === null ? [] : [`${goal.direction} ${details.objectives[goal.objective]}`],
  );
  return [...objectives, ...details.slos].join("; ").replaceAll("<=", "≤").replaceAll(">=", "≥");
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
