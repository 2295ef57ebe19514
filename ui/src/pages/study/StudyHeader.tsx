import { Link, useNavigate } from "@tanstack/react-router";
import { type Live, secondsLeft } from "~/api/live";
import type { StudyDetails } from "~/api/types";
import type { Connection } from "~/api/useLive";
import { ofDetails } from "~/components/actions/allowed";
import { QueuePlace } from "~/components/actions/QueuePlace";
import { StudyActions } from "~/components/actions/StudyActions";
import { Badge, Progress } from "~/components/Badge";
import { studyTone } from "~/components/tones";
import { useNow } from "~/components/useNow";
import { age, duration, moment } from "~/format/time";

interface Props {
  details: StudyDetails;
  live: Live;
  connection: Connection;
}

/** Name, state, progress and the facts of a study. */
export function StudyHeader({ details, live, connection }: Props) {
  const now = useNow(details.running);
  const navigate = useNavigate();
  const left = details.running ? secondsLeft(live, now) : null;
  return (
    <header className="study-head">
      <div className="title">
        <h1>{details.name}</h1>
        <Badge tone={studyTone(details.standing)} live={details.running}>
          {details.standing}
        </Badge>
        <Progress done={details.launches} planned={details.planned} />
        {details.standing === "queued" && <QueuePlace name={details.name} />}
        {left !== null && <span className="quiet">up to {duration(left)} left</span>}
        {details.running && connection !== "open" && <ConnectionNote connection={connection} />}
        <span className="grow" />
        {details.trials.length > 1 && (
          <Link className="button" to="/studies/$name/compare" params={{ name: details.name }} search={{}}>
            Compare
          </Link>
        )}
        {details.winner !== null && (
          <Link className="button" to="/studies/$name/winner" params={{ name: details.name }}>
            Use the {details.proven ? "winner" : "best"}
          </Link>
        )}
        <StudyActions subject={ofDetails(details)} onDeleted={() => navigate({ to: "/studies" })} />
      </div>
      <dl className="facts">
        <Fact name="Model" value={details.model} mono />
        <Fact name="Engine" value={details.engines.join(", ")} />
        <Fact name="Deployer" value={details.deployers.join(", ")} />
        <Fact name="Goals" value={[...goalTexts(details)].join("; ")} />
        <Fact
          name="Updated"
          value={`${age(details.read_at - details.updated_at)}`}
          title={moment(details.updated_at)}
        />
        {details.why && details.state !== "running" && <Fact name="Ended" value={details.why} />}
      </dl>
    </header>
  );
}

function goalTexts(details: StudyDetails): string[] {
  const objectives = details.goals
    .filter((goal) => goal.objective !== null)
    .map((goal) => `${goal.direction} ${details.objectives[goal.objective ?? 0]}`);
  return [...objectives, ...details.slos];
}

function ConnectionNote({ connection }: { connection: Connection }) {
  if (connection === "connecting") return null;
  return (
    <span className="doubtful" role="status">
      {connection === "lost" ? "Connection lost; trying again…" : "No live updates: reload the page"}
    </span>
  );
}

function Fact({
  name,
  value,
  mono = false,
  title,
}: {
  name: string;
  value: string;
  mono?: boolean;
  title?: string;
}) {
  return (
    <div title={title ?? value}>
      <dt>{name}</dt>
      <dd className={mono ? "mono" : undefined}>{value}</dd>
    </div>
  );
}
