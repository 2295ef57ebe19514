// Problems of a study, and which field each belongs to.

import type { Problem } from "~/api/types";
import type { Path } from "./draft";

export interface PlacedProblem {
  /** As the server writes it: `workload.concurrency[0]`; empty if it is about the whole study. */
  path: string;
  line: number | null;
  value: string;
  why: string;
  remedy: string;
}

/** `study:12 workload.concurrency[0]`. */
const WHERE = /^study(?::(\d+))?(?: |$)(.*)$/;

export function placed(problems: readonly Problem[]): PlacedProblem[] {
  return problems.map((problem) => {
    const found = WHERE.exec(problem.where);
    return {
      path: found ? (found[2] ?? "") : problem.where,
      line: found?.[1] ? Number(found[1]) : null,
      value: problem.value ?? "",
      why: problem.why,
      remedy: problem.remedy ?? "",
    };
  });
}

/** A path in the server's spelling. */
export function pathText(path: Path): string {
  return path.map((part, i) => (typeof part === "number" ? `[${part}]` : i > 0 ? `.${part}` : part)).join("");
}

/** Whether a problem is at a path or within it. Names are compared as engines do: `_` is `-`. */
export function isWithin(problem: PlacedProblem, path: Path): boolean {
  const place = problem.path.replaceAll("_", "-");
  const own = pathText(path).replaceAll("_", "-");
  return place === own || place.startsWith(`${own}.`) || place.startsWith(`${own}[`);
}

export function problemText(problem: PlacedProblem): string {
  const value = problem.value ? `${problem.value}: ` : "";
  const remedy = problem.remedy ? `; ${problem.remedy}` : "";
  return `${value}${problem.why}${remedy}`;
}
