// Rows of the list of studies, and its filters.

import type { StudyOverview } from "~/api/types";
import { standing } from "~/components/tones";
import type { StudiesSearch } from "./search";

/** A study with what its row is made from. */
export interface StudyRow {
  /** Its position in the list that the server sent. */
  index: number;
  study: StudyOverview;
  standing: string;
  engines: readonly string[];
  /** Change of the first objective, positive for better. */
  gain: number | null;
}

export function studyRows(studies: readonly StudyOverview[]): StudyRow[] {
  return studies.map((study, index) => {
    const change = study.answer.change ?? null;
    const larger = study.spec.objectives[0]?.direction !== "min";
    return {
      index,
      study,
      standing: standing(study),
      engines: enginesOf(study),
      gain: change === null ? null : larger ? change : -change,
    };
  });
}

function enginesOf(study: StudyOverview): string[] {
  const several = (study.spec.engines ?? []).map((entry) => entry.engine.kind);
  return [...new Set(several.length > 0 ? several : [study.spec.engine.kind])];
}

export function filtered(rows: readonly StudyRow[], search: StudiesSearch): StudyRow[] {
  const query = search.q?.toLowerCase() ?? "";
  return rows.filter(
    (row) =>
      (query === "" || row.study.name.toLowerCase().includes(query)) &&
      (search.state === undefined || row.standing === search.state) &&
      (search.engine === undefined || row.engines.includes(search.engine)),
  );
}

/** Values to choose from, in order. */
export function choices(rows: readonly StudyRow[], of: (row: StudyRow) => readonly string[]): string[] {
  return [...new Set(rows.flatMap(of))].sort();
}
