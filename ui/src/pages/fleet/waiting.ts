// What a queued study waits for.

import type { QueueEntry, WorkerOverview } from "~/api/types";

export function labelsText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(", ");
}

type Waiting = Pick<QueueEntry, "labels" | "refusals">;

/** Whether a worker takes studies, and this one. */
function fits(entry: Waiting, { alive, worker }: WorkerOverview): boolean {
  if (!alive || worker.state !== "running" || worker.id in entry.refusals) return false;
  return Object.entries(entry.labels).every(([name, value]) => worker.labels[name] === value);
}

export function waitingFor(entry: Waiting, workers: readonly WorkerOverview[]): string {
  const wanted = labelsText(entry.labels);
  const another = Object.keys(entry.refusals).length > 0 ? "another worker" : "a worker";
  const worker = wanted ? `${another} with ${wanted}` : another;
  const fitting = workers.filter((one) => fits(entry, one));
  if (fitting.length === 0) return `${worker}; none is running`;
  const free = fitting.some((one) => one.studies.length < one.worker.at_most);
  if (free) return `${worker} to take it`;
  return fitting.length === 1
    ? `${worker}: the only one is busy`
    : `${worker}: all ${fitting.length} are busy`;
}

/** Why workers left a study to others, one line for each. */
export function refusalTexts(entry: Waiting, hosts: ReadonlyMap<string, string>): string[] {
  return Object.entries(entry.refusals).map(([id, why]) => `cannot run on ${hosts.get(id) ?? id}: ${why}`);
}

/** The state of a worker for people. */
export function workerState({ alive, worker }: WorkerOverview): string {
  if (alive) return worker.state;
  return worker.state === "ended" ? "ended" : "lost";
}
