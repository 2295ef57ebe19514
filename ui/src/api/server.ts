// What answers tell about the server and the session while a page is open.

import { useSyncExternalStore } from "react";

/** A page, or a part of it, that the server no longer has. */
export class OutdatedError extends Error {}

/** A script of the page that did not arrive, though the server has it. */
export class ScriptError extends Error {}

export interface Known {
  /** The version to which the server was updated since this page was loaded; null while it is the same. */
  updatedTo: string | null;
  /** Whether the server no longer accepts the session: it expired, or its token was revoked. */
  sessionEnded: boolean;
}

const listeners = new Set<() => void>();
let loaded: string | null = null;
let now: Known = { updatedTo: null, sessionEnded: false };

/** Notes what an answer tells. The first version is that of this page; only known callers are told it. */
export function learn(response: Response): void {
  const version = response.headers.get("Autotuner-Version");
  loaded ??= version;
  if (response.status === 401) change({ sessionEnded: true });
  else if (version !== null) change({ sessionEnded: false, updatedTo: version === loaded ? null : version });
}

/** What is known now. */
export function known(): Known {
  return now;
}

export function useKnown(): Known {
  return useSyncExternalStore(subscribe, known);
}

function change(changes: Partial<Known>): void {
  const next = { ...now, ...changes };
  if (next.updatedTo === now.updatedTo && next.sessionEnded === now.sessionEnded) return;
  now = next;
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
