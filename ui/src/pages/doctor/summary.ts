import type { Check } from "~/api/types";

/** How the checks ended, as `autotuner doctor` says it. */
export function summary(checks: readonly Pick<Check, "status">[]): string {
  const count = (status: Check["status"]) => checks.filter((check) => check.status === status).length;
  const failed = count("fail");
  const warned = count("warn");
  if (failed + warned === 0) return "all checks passed";
  return `${checks.length} checks: ${failed} failed, ${warned} ${warned === 1 ? "warning" : "warnings"}`;
}
