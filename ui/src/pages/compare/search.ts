/** What is compared, as the address says. */
export interface CompareSearch {
  /** Numbers of trials of the study, divided by commas; the first one is what the others are compared with. */
  trials?: string;
  /** Name of another study. */
  with?: string;
  /** Numbers of its trials. */
  others?: string;
  /** The load at which figures are compared. */
  at?: string;
}

/** Columns that a table can show. */
export const MOST = 6;

export function compareSearch(search: Record<string, unknown>): CompareSearch {
  const found: CompareSearch = {};
  for (const key of ["trials", "with", "others", "at"] as const) {
    const value = search[key];
    if ((typeof value === "string" && value !== "") || typeof value === "number") found[key] = String(value);
  }
  return found;
}

/** `1,4` as numbers, each once; null if none are named. */
export function numbersIn(text: string | undefined): number[] | null {
  const found = text?.split(/[,.]/).filter((part) => /^\d{1,9}$/.test(part)) ?? [];
  return found.length > 0 ? [...new Set(found.map(Number))].slice(0, MOST) : null;
}
