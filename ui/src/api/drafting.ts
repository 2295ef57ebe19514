// What the page of a new study reads and sends.

import { queryOptions } from "@tanstack/react-query";
import { changing, startStudy } from "./actions";
import { ApiError, post, request, requestText } from "./client";
import { studyUrl } from "./queries";
import type { CatalogEntry, CheckedStudy, Plan, QueueEntry, StudyOverview } from "./types";

/** What studies may have does not change while the server runs. */
const CONSTANT = { staleTime: Number.POSITIVE_INFINITY } as const;

export const schemaQuery = queryOptions({
  queryKey: ["schema"],
  queryFn: ({ signal }) => request<object>("/api/v1/schema", { signal }),
  ...CONSTANT,
});

/** The parameters of an engine; none if the server does not know it. */
export const catalogQuery = (engine: string) =>
  queryOptions({
    queryKey: ["catalog", engine],
    queryFn: async ({ signal }) => {
      try {
        return await request<CatalogEntry[]>(`/api/v1/engines/${encodeURIComponent(engine)}/parameters`, {
          signal,
        });
      } catch (error) {
        if (error instanceof ApiError && error.status === 422) return [];
        throw error;
      }
    },
    enabled: engine !== "",
    ...CONSTANT,
  });

export const starterQuery = (engine: string, goal: string) =>
  queryOptions({
    queryKey: ["starter", engine, goal],
    queryFn: ({ signal }) =>
      requestText(
        `/api/v1/engines/${encodeURIComponent(engine)}/starter?${new URLSearchParams({ goal, name: nameFor(engine, goal) })}`,
        { signal },
      ),
    ...CONSTANT,
  });

function nameFor(engine: string, goal: string): string {
  return `${engine.replaceAll("_", "-")}-${goal}`;
}

/** The file of a stored study, read each time: an edit must begin with what is stored. */
export const fileQuery = (name: string) =>
  queryOptions({
    queryKey: ["study", name, "file"],
    queryFn: ({ signal }) => requestText(`${studyUrl(name)}/file`, { signal }),
    gcTime: 0,
    staleTime: Number.POSITIVE_INFINITY,
  });

/** A study as the server reads it, and its plan. */
export interface Checked {
  study: CheckedStudy;
  plan: Plan;
}

/** Checks and plans a study, without storing it. */
export const checkQuery = (text: string, preflight: boolean) =>
  queryOptions({
    queryKey: ["check", text, preflight],
    queryFn: async ({ signal }): Promise<Checked> => {
      const study = await validate(text, signal);
      return {
        study,
        plan: await post<Plan>("/api/v1/studies/plan", { study: text, preflight }, { signal }),
      };
    },
    enabled: text.trim() !== "",
    retry: false,
    gcTime: 60_000,
    staleTime: 60_000,
    refetchOnWindowFocus: false,
  });

export function validate(text: string, signal?: AbortSignal): Promise<CheckedStudy> {
  return post<CheckedStudy>("/api/v1/studies/validate", { study: text }, signal ? { signal } : {});
}

/** Stores a new study, or the changes of a stored one; and starts it. */
export async function saveStudy(
  text: string,
  edited: string | undefined,
  start: boolean,
): Promise<StudyOverview> {
  if (edited === undefined) {
    const made = post<StudyOverview>("/api/v1/studies", { study: text, start });
    return changing((await made).name, made);
  }
  const saved = await changing(
    edited,
    post<StudyOverview>(studyUrl(edited), { study: text }, { method: "PUT" }),
  );
  if (start) {
    // One that waits in the queue keeps its priority.
    const queue = await request<QueueEntry[]>("/api/v1/queue");
    await startStudy(edited, queue.find((entry) => entry.study === edited)?.priority);
  }
  return saved;
}
