// What the pointer or the focus is on, shared by tables and plots. A store of its own, because it changes with every
// movement, and only what lights up may be drawn again.

import { createContext, useContext, useSyncExternalStore } from "react";

export class Lit {
  current: string | null = null;
  private readonly listeners = new Set<() => void>();

  set(id: string | null): void {
    if (id === this.current) return;
    this.current = id;
    for (const listener of this.listeners) listener();
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
}

/** The store of a page; one that nobody listens to, outside of it. */
export const LitContext = createContext(new Lit());

export function useLitStore(): Lit {
  return useContext(LitContext);
}

/** The id that is lit. */
export function useLit(): string | null {
  const store = useLitStore();
  return useSyncExternalStore(store.subscribe, () => store.current);
}

/** Whether this id is lit. */
export function useIsLit(id: string): boolean {
  const store = useLitStore();
  return useSyncExternalStore(store.subscribe, () => store.current === id);
}
