// What a queued study waits for.

import type { QueueEntry, WorkerOverview } from "~/api/types";

export function labelsText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(", ");
}

/** Whether a worker takes studies, and this one. */
function fits(entry: Pick<QueueEntry, "labels">, { alive, worker }: WorkerOverview): boolean {
  if (!alive || worker.state !== "running") return false;
  return Object.entries(entry.labels).every(([name, value]) => worker.labels[name] === value);
}

export function waitingFor(entry: Pick<QueueEntry, "labels">, workers: readonly WorkerOverview[]): string {
  const wanted = labelsText(entry.labels);
  const worker = wanted ? `a worker with ${wanted}` : "a worker";
  const fitting = workers.filter((one) => fits(entry, one));
  if (fitting.length === 0) return `${worker}; none is running`;
  const free = fitting.some((one) => one.studies.length < one.worker.at_most);
  if (free) return `${worker} to take it`;
  return fitting.length === 1
    ? `${worker}: the only one is busy`
    : `${worker}: all ${fitting.length} are busy`;
}

/** The state of a worker for people. */
export function workerState({ alive, worker }: WorkerOverview): string {
  if (alive) return worker.state;
  return worker.state === "ended" ? "ended" : "lost";
}
