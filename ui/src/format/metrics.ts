// Units and names of metrics; `make ui-types` writes the file from the Python code.

import type { Direction, Unit } from "~/api/types";
import known from "./metrics.json";

export interface MetricInfo {
  unit: Unit;
  better: Direction;
  title: string;
}

const METRICS = known as Record<string, MetricInfo>;

/** What is known about a metric; a later server may have others, whose values are shown as they are. */
export function metricOf(name: string | undefined): MetricInfo {
  return METRICS[name ?? ""] ?? { unit: "requests/s", better: "max", title: name ?? "" };
}
