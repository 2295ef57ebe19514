/** What the page of a study shows, as its address says. */
export interface StudySearch {
  sort?: string;
  /** Only trials with this outcome. */
  outcome?: string;
  /** Also parameters that have the same value in all trials. */
  all?: boolean;
  /** Also the repeats of the proof. */
  repeats?: boolean;
  /** Figures on the axes of the plot of two figures. */
  x?: string;
  y?: string;
  /** Axes of the parallel coordinates, divided by bars. */
  axes?: string;
  /** The parameter of the slice, and the figure over it. */
  param?: string;
  of?: string;
  /** Numbers of picked trials, divided by dots. */
  pick?: string;
}

export function studySearch(search: Record<string, unknown>): StudySearch {
  const found: StudySearch = {};
  for (const key of ["sort", "outcome", "x", "y", "axes", "param", "of", "pick"] as const) {
    const value = search[key];
    if ((typeof value === "string" && value !== "") || typeof value === "number") found[key] = String(value);
  }
  for (const key of ["all", "repeats"] as const) if (search[key] === true) found[key] = true;
  return found;
}

export function pickedIds(search: StudySearch): ReadonlySet<string> {
  return new Set(search.pick?.split(".").filter((part) => /^\d+$/.test(part)) ?? []);
}
