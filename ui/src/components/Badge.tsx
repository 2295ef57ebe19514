import type { Tone } from "./tones";

/** A state in a word; what is going on now has a dot that pulses. */
export function Badge({ tone, live = false, children }: { tone: Tone; live?: boolean; children: string }) {
  return (
    <span className={`badge ${tone}`}>
      {live && <span className="dot pulse" />}
      {children}
    </span>
  );
}

/** How many of the planned launches are done. */
export function Progress({ done, planned }: { done: number; planned: number }) {
  const share = planned > 0 ? Math.min(1, done / planned) : 0;
  return (
    <span className="progress">
      <svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
        <rect width={share * 100} height="6" />
      </svg>
      <span>
        {done}
        {planned > done && ` of ${planned}`}
      </span>
    </span>
  );
}
