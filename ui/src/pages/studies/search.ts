/** What the list of studies shows, as its address says. */
export interface StudiesSearch {
  q?: string;
  state?: string;
  engine?: string;
  sort?: string;
  /** From 1. */
  page?: number;
}

export function studiesSearch(search: Record<string, unknown>): StudiesSearch {
  const found: StudiesSearch = {};
  for (const key of ["q", "state", "engine", "sort"] as const) {
    const value = search[key];
    // The router reads what looks like a number as one.
    if ((typeof value === "string" && value !== "") || typeof value === "number") found[key] = String(value);
  }
  const page = Number(search.page);
  if (Number.isInteger(page) && page > 1 && page <= MOST_PAGES) found.page = page;
  return found;
}

const MOST_PAGES = 1_000_000;

/** The same list on another page, from 1. */
export function onPage(search: StudiesSearch, page: number): StudiesSearch {
  const { page: before, ...rest } = search;
  return page > 1 ? { ...rest, page } : rest;
}
