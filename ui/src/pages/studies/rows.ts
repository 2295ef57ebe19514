// Rows of the list of studies, and the query that loads them.

import type { StudyRow } from "~/api/types";
import type { StudiesSearch } from "./search";

/** Studies on one page of the list. */
export const PAGE_ROWS = 50;

/** A study with what its row is made from. */
export interface ListedStudy {
  /** Its position in the whole list. */
  index: number;
  study: StudyRow;
  /** Change of the first objective, positive for better. */
  gain: number | null;
}

export function listed(studies: readonly StudyRow[], offset: number): ListedStudy[] {
  return studies.map((study, place) => {
    const larger = study.objective?.direction !== "min";
    return {
      index: offset + place,
      study,
      gain: study.change === null ? null : larger ? study.change : -study.change,
    };
  });
}

/** Columns by which the server sorts, and whether its order begins with the largest value of the column. */
const ORDERS: Readonly<Record<string, boolean>> = {
  name: false,
  state: false,
  launches: true,
  gain: true,
  age: false,
};

/** The parameters of the request for a page of the list. */
export function wantedRows(search: StudiesSearch): Record<string, string> {
  const offset = ((search.page ?? 1) - 1) * PAGE_ROWS;
  const wanted: Record<string, string> = { limit: String(PAGE_ROWS), offset: String(offset) };
  if (search.q) wanted.contains = search.q;
  if (search.state) wanted.standing = search.state;
  if (search.engine) wanted.engine = search.engine;
  const column = search.sort?.replace(/^-/, "") ?? "";
  const largestFirst = ORDERS[column];
  if (largestFirst !== undefined) {
    wanted.sort = column;
    if (largestFirst !== search.sort?.startsWith("-")) wanted.backward = "true";
  }
  return wanted;
}

/** The last page of a list with this many studies. */
export function lastPage(total: number): number {
  return Math.max(1, Math.ceil(total / PAGE_ROWS));
}
