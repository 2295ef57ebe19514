// Which actions make sense for a study, by its state.

import type { StudyDetails, StudyRow } from "~/api/types";

/** What actions need to know of a study. */
export interface Subject {
  name: string;
  /** The state for people: `queued`, `cut off`, or as it is stored. */
  standing: string;
  running: boolean;
  /** Launches with a result. */
  launches: number;
  /** Whether there is a configuration to use. */
  answered: boolean;
}

export type Action = "start" | "resume" | "stop" | "dequeue";

/** The action that comes first; null for a study that is done. */
export function firstAction(subject: Subject): Action | null {
  if (subject.running) return "stop";
  if (subject.standing === "queued") return "dequeue";
  if (subject.standing === "done") return null;
  return subject.standing === "new" && subject.launches === 0 ? "start" : "resume";
}

export function ofRow(study: StudyRow): Subject {
  return {
    name: study.name,
    standing: study.standing,
    running: study.running,
    launches: study.launches,
    answered: study.trial !== null,
  };
}

export function ofDetails(details: StudyDetails): Subject {
  return {
    name: details.name,
    standing: details.standing,
    running: details.running,
    launches: details.launches,
    answered: details.winner !== null,
  };
}

/** What is lost with a study. */
export function loss(subject: Subject): string {
  if (subject.launches === 0) return "It has no results yet; its study file is deleted.";
  const launches = subject.launches === 1 ? "1 launch" : `${subject.launches} launches`;
  const answer = subject.answered ? ", and the answer with its proof" : "";
  return `All its results are deleted: ${launches} with request records, server logs and events${answer}.`;
}
