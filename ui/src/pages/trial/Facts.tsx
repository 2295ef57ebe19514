import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import type { TrialDetails } from "~/api/types";
import { Figure } from "~/components/Figure";
import { metricOf } from "~/format/metrics";
import { duration, moment } from "~/format/time";

/** Objectives, relations to other trials, and time. */
export function Facts({ details, name }: { details: TrialDetails; name: string }) {
  const { trial } = details;
  const started = trial.started_at ?? null;
  const finished = trial.finished_at ?? null;
  return (
    <dl className="facts">
      {details.objectives.map((text, i) => {
        const value = trial.verdict?.objectives[i];
        if (value === undefined || value === null) return null;
        const change = details.changes[i];
        return (
          <Fact key={text} name={text}>
            <Figure path={`trial.verdict.objectives.${i}`} value={value} unit={unitOf(text)} />
            {change && (
              <>
                {" "}
                <data value={change.amount} data-json={`changes.${i}.amount`}>
                  {change.text}
                </data>
              </>
            )}
          </Fact>
        );
      })}
      {trial.repeat_of !== null && trial.repeat_of !== undefined && (
        <Fact name="Repeat of">
          <TrialLink name={name} number={trial.repeat_of} />
          {typeof trial.block === "number" && `, block ${trial.block} of the proof`}
        </Fact>
      )}
      {typeof trial.server_of === "number" && (
        <Fact name="Server">
          of <TrialLink name={name} number={trial.server_of} />, with flags changed while it ran
        </Fact>
      )}
      {details.repeats.length > 0 && (
        <Fact name="Repeats">
          {details.repeats.map((number) => (
            <span key={number}>
              <TrialLink name={name} number={number} />{" "}
            </span>
          ))}
        </Fact>
      )}
      {started !== null && finished !== null && <Fact name="Time">{duration(finished - started)}</Fact>}
      {started !== null && <Fact name="Started">{moment(started)}</Fact>}
      {trial.gpus > 0 && <Fact name="GPUs">{trial.gpus}</Fact>}
      {trial.cut && <Fact name="Cut">{trial.cut.text}</Fact>}
    </dl>
  );
}

/** The unit of an objective from its text: `max output_throughput at concurrency=8`, `min p99 ttft`. */
function unitOf(text: string) {
  const metric = text.split(" ").find((word, i) => i > 0 && !/^(p\d+(\.\d)?|mean|std|min|max)$/.test(word));
  return metricOf(metric).unit;
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

export function TrialLink({ name, number }: { name: string; number: number }) {
  return (
    <Link to="/studies/$name/trials/$trial" params={{ name, trial: String(number) }}>
      trial {number}
    </Link>
  );
}
