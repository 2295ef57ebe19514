import type { StudyOverview, TrialRow } from "~/api/types";

/** What a state means for the study. */
export type Tone = TrialRow["tone"];

/** The state of a study for people: a run that was killed could not store its end and is `cut off`. */
export function standing(study: Pick<StudyOverview, "state" | "running">): string {
  return study.state === "running" && !study.running ? "cut off" : study.state;
}

const TONES: Record<string, Tone> = {
  running: "open",
  done: "good",
  failed: "bad",
  "cut off": "bad",
  stopped: "doubtful",
  interrupted: "doubtful",
};

export function studyTone(state: string): Tone {
  return TONES[state] ?? "open";
}
