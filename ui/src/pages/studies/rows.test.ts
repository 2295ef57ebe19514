import { describe, expect, it } from "vitest";
import type { StudyRow } from "~/api/types";
import { lastPage, listed, wantedRows } from "./rows";
import { onPage, studiesSearch } from "./search";

describe("the query of a page of studies", () => {
  it("is the first page in the server's order unless the address says otherwise", () => {
    expect(wantedRows({})).toEqual({ limit: "50", offset: "0" });
    expect(wantedRows({ q: "Chat", state: "cut off", engine: "vllm", page: 3 })).toEqual({
      limit: "50",
      offset: "100",
      contains: "Chat",
      standing: "cut off",
      engine: "vllm",
    });
  });

  it.each([
    ["name", { sort: "name" }],
    ["-name", { sort: "name", backward: "true" }],
    ["-gain", { sort: "gain" }],
    ["gain", { sort: "gain", backward: "true" }],
    ["age", { sort: "age" }],
    ["-age", { sort: "age", backward: "true" }],
    ["value", {}],
  ])("sorts %s", (sort, expected) => {
    expect(wantedRows({ sort })).toEqual({ limit: "50", offset: "0", ...expected });
  });
});

describe("pages", () => {
  it.each([
    [undefined, undefined],
    [2, 2],
    ["2", 2],
    [0, undefined],
    [-1, undefined],
    [1.5, undefined],
    ["x", undefined],
    [1e99, undefined],
  ])("of %s in the address", (page, expected) => {
    expect(studiesSearch({ page }).page).toBe(expected);
  });

  it("keep what else the address says", () => {
    expect(onPage({ q: "chat", page: 2 }, 3)).toEqual({ q: "chat", page: 3 });
    expect(onPage({ q: "chat", page: 2 }, 1)).toEqual({ q: "chat" });
  });

  it("end with the last study", () => {
    expect([0, 1, 50, 51].map(lastPage)).toEqual([1, 1, 1, 2]);
  });
});

describe("rows", () => {
  const study = (change: number | null, direction: "min" | "max") =>
    ({ change, objective: { metric: "ttft", statistic: "p99", direction } }) as StudyRow;

  it("have their place in the whole list, and a gain that is positive for better", () => {
    const rows = listed([study(0.2, "max"), study(-0.1, "min"), study(null, "max")], 50);
    expect(rows.map((row) => [row.index, row.gain])).toEqual([
      [50, 0.2],
      [51, 0.1],
      [52, null],
    ]);
  });
});
