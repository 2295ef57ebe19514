// Checks of the server's machine and of deployment targets.

import { queryOptions } from "@tanstack/react-query";
import { post, request } from "./client";
import { studyUrl } from "./queries";
import type { Diagnosis } from "./types";

export const deployersQuery = queryOptions({
  queryKey: ["deployers"],
  queryFn: ({ signal }) => request<string[]>("/api/v1/deployers", { signal }),
  staleTime: Number.POSITIVE_INFINITY,
});

/** What to check: a stored study, or a deployer with settings. */
export type Subject = { study: string } | { deploy: string; settings: Readonly<Record<string, unknown>> };

/** The checks of a subject; made only on request, because they reach other systems. */
export const diagnosisQuery = (subject: Subject) =>
  queryOptions({
    queryKey: ["doctor", subject],
    queryFn: ({ signal }) =>
      "study" in subject
        ? post<Diagnosis>(`${studyUrl(subject.study)}/doctor`, {}, { signal })
        : post<Diagnosis>("/api/v1/doctor", subject, { signal }),
    retry: false,
    gcTime: 0,
    staleTime: Number.POSITIVE_INFINITY,
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
  });
