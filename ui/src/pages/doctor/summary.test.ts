import { expect, it } from "vitest";
import { doctorSearch } from "./search";
import { summary } from "./summary";

it("says how the checks ended", () => {
  expect(summary([{ status: "ok" }, { status: "ok" }])).toBe("all checks passed");
  expect(summary([{ status: "ok" }, { status: "warn" }])).toBe("2 checks: 0 failed, 1 warning");
  expect(summary([{ status: "fail" }, { status: "warn" }, { status: "warn" }])).toBe(
    "3 checks: 1 failed, 2 warnings",
  );
});

it("reads what to check from the address", () => {
  expect(doctorSearch({ study: 8, deploy: "", other: "x" })).toEqual({ study: "8" });
});
