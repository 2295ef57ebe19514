import type { TrialRow } from "~/api/types";

/** What a state means for the study. */
export type Tone = TrialRow["tone"];

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
