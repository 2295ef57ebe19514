/** What the list of studies shows, as its address says. */
export interface StudiesSearch {
  q?: string;
  state?: string;
  engine?: string;
  sort?: string;
}

export function studiesSearch(search: Record<string, unknown>): StudiesSearch {
  const found: StudiesSearch = {};
  for (const key of ["q", "state", "engine", "sort"] as const) {
    const value = search[key];
    // The router reads what looks like a number as one.
    if ((typeof value === "string" && value !== "") || typeof value === "number") found[key] = String(value);
  }
  return found;
}
