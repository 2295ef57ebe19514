/** What the page checks, as its address says; nothing: it waits for a choice. */
export interface DoctorSearch {
  /** A kind of deployer. */
  deploy?: string;
  /** A stored study. */
  study?: string;
}

export function doctorSearch(search: Record<string, unknown>): DoctorSearch {
  const found: DoctorSearch = {};
  for (const key of ["deploy", "study"] as const) {
    const value = search[key];
    // The router reads what looks like a number as one.
    if ((typeof value === "string" && value !== "") || typeof value === "number") found[key] = String(value);
  }
  return found;
}
