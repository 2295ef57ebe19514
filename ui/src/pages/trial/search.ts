/** What the page of a trial shows, as its address says. */
export interface TrialSearch {
  /** Lines of the log. */
  lines?: number;
  /** Only lines with this text. */
  find?: string;
  /** Place of the window whose latencies are shown. */
  window?: string;
}

export function trialSearch(search: Record<string, unknown>): TrialSearch {
  const found: TrialSearch = {};
  if (typeof search.lines === "number" && search.lines > 0)
    found.lines = Math.min(10_000, Math.floor(search.lines));
  if ((typeof search.find === "string" && search.find) || typeof search.find === "number")
    found.find = String(search.find);
  if (typeof search.window === "string" && search.window) found.window = search.window;
  return found;
}
