// What changes a study. Each refreshes what pages know of it.

import { post, request } from "./client";
import { fleetQuery } from "./fleet";
import { client, STUDIES, studyUrl } from "./queries";
import type { QueueEntry, StudyOverview } from "./types";

/** Puts a study into the queue, or changes its priority there; it resumes if it has results. */
export const startStudy = (name: string, priority = 0): Promise<QueueEntry> =>
  changing(name, post<QueueEntry>(`${studyUrl(name)}/start`, { priority }));

/** Asks the process that runs a study to end it, or takes the study out of the queue. */
export const stopStudy = (name: string): Promise<{ stopping: boolean }> =>
  changing(name, post<{ stopping: boolean }>(`${studyUrl(name)}/stop`, {}));

/** Copies a study without its results. */
export const cloneStudy = (name: string, copy: string): Promise<StudyOverview> =>
  changing(copy, post<StudyOverview>(`${studyUrl(name)}/clone`, { name: copy }));

/** Deletes a study with its results. */
export async function deleteStudy(name: string): Promise<void> {
  await request<void>(studyUrl(name), { method: "DELETE" });
  // What is shown of it goes with it; reading it again would fail.
  client.removeQueries({ queryKey: ["study", name] });
  await client.invalidateQueries({ queryKey: STUDIES });
}

export async function changing<T>(name: string, change: Promise<T>): Promise<T> {
  try {
    return await change;
  } finally {
    // Also after a refusal: the study was then in another state than the page showed.
    await Promise.all([
      client.invalidateQueries({ queryKey: STUDIES }),
      client.invalidateQueries({ queryKey: ["study", name] }),
      client.invalidateQueries({ queryKey: fleetQuery.queryKey }),
    ]);
  }
}
