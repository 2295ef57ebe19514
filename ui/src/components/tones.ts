import type { StudyOverview, TrialRow } from "~/api/types";

/** What a state means for the study. */
export type Tone = TrialRow["tone"];

/** The state of a study for people: `queued` while it waits for a worker, and `cut off` after a run that was killed. */
export function standing(study: Pick<StudyOverview, "state" | "running" | "position">): string {
  if (study.position !== null && !study.running) return "queued";
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
