// What is compared: trials of one study, or of two.

import type { StudyDetails, TrialDetails, TrialRow } from "~/api/types";
import { valueText } from "~/format/values";
import { figurePath, jsonIndex } from "../study/measures";

export interface CompareColumn {
  id: string;
  title: string;
  details: StudyDetails;
  row: TrialRow;
  /** Everything about the trial, once it was read. */
  full: TrialDetails | undefined;
  /** In front of the place of a value in the JSON of `show`, if it is that of another study than the page's. */
  prefix: string;
}

/** The trials that a study is about: its default and its answer. */
export function answerTrials(details: StudyDetails): number[] {
  const found = [details.default, details.winner ?? details.best].filter((number) => number !== null);
  return [...new Set(found)];
}

export interface Place {
  id: string;
  scenario: string;
  level: string;
}

/** Loads that at least two columns have measured, or all loads of a single one. */
export function places(columns: readonly CompareColumn[]): Place[] {
  const counts = new Map<string, Place & { count: number }>();
  for (const column of columns) {
    for (const { scenario, level } of column.row.windows) {
      const id = `${level} ${scenario}`;
      counts.set(id, { id, scenario, level, count: (counts.get(id)?.count ?? 0) + 1 });
    }
  }
  return [...counts.values()].filter((place) => place.count > 1 || columns.length === 1);
}

export interface CellValue {
  value: number;
  path: string;
}

/** A figure of a column at a load. */
export function figureAt(column: CompareColumn, place: Place, figure: string): CellValue | null {
  const window = column.row.windows.findIndex(
    (one) => one.scenario === place.scenario && one.level === place.level,
  );
  const value = column.row.windows[window]?.values[figure];
  if (value === undefined) return null;
  const index = jsonIndex(column.details).get(column.row.number);
  return {
    value,
    path: `${column.prefix}trials.${index}.measurements.${window}.${figurePath(figure)}`,
  };
}

/** Flags with their values; settings without a command line are those of the configuration. */
export function settingsOf(full: TrialDetails | undefined): ReadonlyMap<string, string> {
  if (!full) return new Map();
  const { argv, address_flags, configuration } = full.trial;
  if (argv.length === 0) {
    return new Map(
      Object.entries(configuration.values ?? {}).map(([name, value]) => [name, valueText(value)]),
    );
  }
  const found = new Map<string, string[]>();
  let name = "";
  for (const word of argv) {
    if (word.startsWith("-") && !/^-\d/.test(word)) {
      const at = word.indexOf("=");
      name = at < 0 ? word : word.slice(0, at);
      const known = found.get(name) ?? [];
      found.set(name, at < 0 ? known : [...known, word.slice(at + 1)]);
    } else {
      found.set(name, [...(found.get(name) ?? []), word]);
    }
  }
  return new Map(
    [...found]
      .filter(([flag]) => flag !== "" && !address_flags.includes(flag))
      .map(([flag, words]) => [flag, words.length > 0 ? words.join(" ") : "on"]),
  );
}

/** What the servers chose themselves at start. */
export function resolvedOf(full: TrialDetails | undefined): ReadonlyMap<string, string> {
  const entries = Object.entries(full?.trial.resolved ?? {}).filter(([name]) => name !== "simulated");
  return new Map(
    entries.map(([name, value]) => [
      name,
      typeof value === "object" && value !== null && !Array.isArray(value)
        ? JSON.stringify(value)
        : valueText(value),
    ]),
  );
}

/** Names whose values differ among the columns, with the value of each; null where a column lacks it. */
export function differences(
  columns: readonly ReadonlyMap<string, string>[],
): { name: string; values: (string | null)[] }[] {
  const names = new Set(columns.flatMap((column) => [...column.keys()]));
  return [...names]
    .map((name) => ({ name, values: columns.map((column) => column.get(name) ?? null) }))
    .filter(({ values }) => new Set(values).size > 1);
}
