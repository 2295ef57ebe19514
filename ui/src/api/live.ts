// The events of a study, folded into what is going on now. Pure: a test replays recorded events.

/** An event as `autotuner watch --json` prints it. */
export interface StudyEvent {
  seq: number;
  at: number;
  trial: number | null;
  kind: string;
  data: Record<string, unknown>;
}

/** What a trial is doing. */
export interface Activity {
  startedAt: number;
  phase: string;
  scenario: string;
  level: string;
  /** Progress of the window. */
  elapsed: number;
  total: number;
}

export interface Notice {
  seq: number;
  at: number;
  text: string;
}

export interface Live {
  seq: number;
  running: ReadonlyMap<number, Activity>;
  /** Launches that remain after those that run: of the search, and of the proof. */
  left: readonly [number, number];
  parallel: number;
  /** Seconds that trials took, and how many of them. */
  spent: readonly [number, number];
  notices: readonly Notice[];
}

export const NOTHING: Live = {
  seq: 0,
  running: new Map(),
  left: [0, 0],
  parallel: 1,
  spent: [0, 0],
  notices: [],
};

/** Whether a trial has not ended. Its last event cannot tell: a run that was killed writes no more. */
export function unfinished({ state }: { state: string }): boolean {
  return state === "queued" || state === "running";
}

/** Kinds after which the stored study differs from what was read before. */
export const CHANGES: ReadonlySet<string> = new Set([
  "study_started",
  "trial_proposed",
  "trial_finished",
  "study_finished",
]);
export const KINDS: readonly string[] = [...CHANGES, "phase", "progress", "notice", "study_waiting"];

const NOTICES = 5;

/** Applies events in order; those that were applied before are ignored, as a connection may repeat them. */
export function fold(live: Live, events: readonly StudyEvent[]): Live {
  return events.reduce((state, event) => (event.seq > state.seq ? one(state, event) : state), live);
}

function one(live: Live, event: StudyEvent): Live {
  const next: Live = { ...live, seq: event.seq };
  const { data, trial } = event;
  switch (event.kind) {
    case "study_started":
      return {
        ...next,
        running: new Map(),
        parallel: number(data.parallel, 1),
        left: left(data.left, live.left),
      };
    case "study_finished":
      return { ...next, running: new Map(), left: [0, 0] };
    case "trial_proposed":
      if (trial === null) return next;
      return { ...next, left: left(data.left, live.left), running: with_(live, trial, started(event.at)) };
    case "phase":
      if (trial === null) return next;
      return {
        ...next,
        running: with_(live, trial, {
          ...(live.running.get(trial) ?? started(event.at)),
          phase: text(data.phase),
          scenario: text(data.scenario),
          level: text(data.level),
          elapsed: 0,
          total: 0,
        }),
      };
    case "progress":
      if (trial === null) return next;
      return {
        ...next,
        running: with_(live, trial, {
          ...(live.running.get(trial) ?? started(event.at)),
          scenario: text(data.scenario),
          level: text(data.level),
          elapsed: number(data.elapsed_s, 0),
          total: number(data.total_s, 0),
        }),
      };
    case "trial_finished":
      return trial === null ? next : finished(next, trial, event);
    case "notice":
      return noticed(next, event, text(data.text));
    case "study_waiting":
      return noticed(next, event, `waits in the queue: ${text(data.why)}`);
    default:
      return next;
  }
}

function noticed(live: Live, { seq, at }: StudyEvent, text: string): Live {
  return { ...live, notices: [...live.notices, { seq, at, text }].slice(-NOTICES) };
}

function finished(live: Live, trial: number, event: StudyEvent): Live {
  const running = new Map(live.running);
  const activity = running.get(trial);
  running.delete(trial);
  if (!activity || event.data.state === "void") return { ...live, running };
  return { ...live, running, spent: [live.spent[0] + event.at - activity.startedAt, live.spent[1] + 1] };
}

function started(at: number): Activity {
  return { startedAt: at, phase: "queued", scenario: "", level: "", elapsed: 0, total: 0 };
}

function with_(live: Live, trial: number, activity: Activity): ReadonlyMap<number, Activity> {
  return new Map(live.running).set(trial, activity);
}

function left(value: unknown, known: readonly [number, number]): readonly [number, number] {
  if (typeof value !== "object" || value === null) return known;
  const { search, repeats } = value as { search?: unknown; repeats?: unknown };
  return [number(search, 0), number(repeats, 0)];
}

/** Most seconds that remain, from the mean duration of finished trials; null until one is finished.
 *
 * Trials of the search run in parallel, repeats one after another.
 */
export function secondsLeft(live: Live, now: number): number | null {
  const [seconds, count] = live.spent;
  if (count === 0 || live.running.size === 0) return null;
  const mean = seconds / count;
  const rests = [...live.running.values()].map((activity) => mean - (now - activity.startedAt));
  const [search, repeats] = live.left;
  return Math.max(0, ...rests) + Math.ceil(search / Math.max(1, live.parallel)) * mean + repeats * mean;
}

/** `measuring concurrency=8, 12 of 30 s`. */
export function activityText(activity: Activity): string {
  const where = activity.level ? ` ${activity.level}` : "";
  const progress =
    activity.total > 0
      ? `, ${Math.min(activity.elapsed, activity.total).toFixed(0)} of ${activity.total.toFixed(0)} s`
      : "";
  return `${activity.phase}${where}${progress}`;
}

function number(value: unknown, otherwise: number): number {
  return typeof value === "number" ? value : otherwise;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
