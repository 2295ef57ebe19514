// The version of the server, which may be updated while a page of the version before is open.

import { useSyncExternalStore } from "react";

/** A page, or a part of it, that the server no longer has. */
export class OutdatedError extends Error {}

const listeners = new Set<() => void>();
let loaded: string | null = null;
let newest: string | null = null;

/** Notes the version that an answer names; the first one is that of this page. */
export function seeVersion(version: string | null): void {
  if (version === null || version === newest) return;
  loaded ??= version;
  newest = version;
  for (const listener of listeners) listener();
}

/** The version to which the server was updated since this page was loaded; null while it is the same. */
export function updatedTo(): string | null {
  return newest === loaded ? null : newest;
}

export function useUpdatedTo(): string | null {
  return useSyncExternalStore(subscribe, updatedTo);
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
