/** What the page of a new study begins with, as its address says; nothing: a choice. */
export interface DraftSearch {
  /** A stored study to change. */
  edit?: string;
  /** An engine, with the goal. */
  engine?: string;
  goal?: string;
  /** A preset to begin with. */
  preset?: string;
  /** `empty`, or `file`: what the user brings. */
  from?: string;
}

export function draftSearch(search: Record<string, unknown>): DraftSearch {
  const found: DraftSearch = {};
  for (const key of ["edit", "engine", "goal", "preset", "from"] as const) {
    const value = search[key];
    // The router reads what looks like a number as one.
    if ((typeof value === "string" && value !== "") || typeof value === "number") found[key] = String(value);
  }
  return found;
}
