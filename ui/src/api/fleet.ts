import { queryOptions } from "@tanstack/react-query";
import { request } from "./client";
import type { LaunchedObjects, LeaseOverview, QueueEntry, WorkerOverview } from "./types";

export interface Fleet {
  queue: QueueEntry[];
  workers: WorkerOverview[];
  leases: LeaseOverview[];
}

const FLEET_MS = 3_000;
/** It costs a look at Docker and at clusters. */
const LAUNCHED_MS = 15_000;

/** The queue alone, for pages of single studies. */
export const queueQuery = queryOptions({
  queryKey: ["fleet", "queue"],
  queryFn: ({ signal }) => request<QueueEntry[]>("/api/v1/queue", { signal }),
  refetchInterval: FLEET_MS,
});

/** Queue, workers and leases, read together so that they fit one another. */
export const fleetQuery = queryOptions({
  queryKey: ["fleet"],
  queryFn: async ({ signal }): Promise<Fleet> => {
    const [queue, workers, leases] = await Promise.all([
      request<QueueEntry[]>("/api/v1/queue", { signal }),
      request<WorkerOverview[]>("/api/v1/workers", { signal }),
      request<LeaseOverview[]>("/api/v1/leases", { signal }),
    ]);
    return { queue, workers, leases };
  },
  refetchInterval: FLEET_MS,
});

/** What runs have launched; not below the key of the rest, which is read again after every change. */
export const launchedQuery = queryOptions({
  queryKey: ["launched"],
  queryFn: ({ signal }) => request<LaunchedObjects>("/api/v1/launched-objects", { signal }),
  refetchInterval: LAUNCHED_MS,
});
