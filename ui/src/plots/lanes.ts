// Where the bars of a timeline are drawn: lanes for trials that ran side by side, and an axis without idle gaps.

export interface Span {
  id: string;
  start: number;
  end: number;
}

/** The lane of each span: the first that is free when it begins. */
export function lanesOf(spans: readonly Span[]): ReadonlyMap<string, number> {
  const ends: number[] = [];
  const lanes = new Map<string, number>();
  for (const span of [...spans].sort((a, b) => a.start - b.start || a.end - b.end)) {
    const free = ends.findIndex((end) => end <= span.start + 1e-6);
    const lane = free < 0 ? ends.length : free;
    ends[lane] = span.end;
    lanes.set(span.id, lane);
  }
  return lanes;
}

export interface Axis {
  /** Seconds of activity before a moment. */
  at: (time: number) => number;
  length: number;
  /** Where time was left out, in seconds of activity. */
  cuts: readonly number[];
}

/** An axis from which idle times longer than `least` seconds are cut: a study may be resumed after days. */
export function activeAxis(spans: readonly Span[], least: number): Axis {
  const pieces: { start: number; end: number; before: number }[] = [];
  let length = 0;
  for (const { start, end } of [...spans].sort((a, b) => a.start - b.start)) {
    const last = pieces.at(-1);
    if (last && start - last.end <= least) {
      length += Math.max(0, end - last.end);
      last.end = Math.max(last.end, end);
    } else {
      pieces.push({ start, end, before: length });
      length += end - start;
    }
  }
  const at = (time: number) => {
    const piece = pieces.findLast((one) => one.start <= time) ?? pieces[0];
    if (!piece) return 0;
    return piece.before + Math.min(Math.max(time, piece.start), piece.end) - piece.start;
  };
  return { at, length, cuts: pieces.slice(1).map((piece) => piece.before) };
}

export type PhaseGroup = "prepare" | "load" | "warm" | "measure" | "check" | "rest";

const GROUPS: Record<string, PhaseGroup> = {
  queued: "prepare",
  pulling: "prepare",
  accepted: "prepare",
  scheduled: "prepare",
  launching: "load",
  loading: "load",
  ready: "load",
  warming: "warm",
  measuring: "measure",
  checking: "check",
};
export const GROUP_TEXTS: Record<PhaseGroup, string> = {
  prepare: "waiting, pulling, scheduling",
  load: "launching, loading",
  warm: "warming",
  measure: "measuring",
  check: "checking answers",
  rest: "other",
};

/** The kind of a phase. */
export function phaseGroup(phase: string): PhaseGroup {
  return GROUPS[phase] ?? "rest";
}

/** Consecutive phases of a kind as one piece, in seconds. */
export function pieces(phases: Readonly<Record<string, number>>): { group: PhaseGroup; seconds: number }[] {
  const found: { group: PhaseGroup; seconds: number }[] = [];
  for (const [phase, seconds] of Object.entries(phases)) {
    const group = phaseGroup(phase);
    const last = found.at(-1);
    if (last?.group === group) last.seconds += seconds;
    else found.push({ group, seconds });
  }
  return found;
}
