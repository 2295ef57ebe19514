// What pages read from the server. Keys begin with the subject, so that events can refresh all of a study at once.

import { keepPreviousData, QueryClient, queryOptions } from "@tanstack/react-query";
import { ApiError, request, requestText } from "./client";
import type {
  Form,
  LogTail,
  Session,
  StudyDetails,
  StudyEvidence,
  StudyPredictions,
  StudyRows,
  TrialDetails,
  TrialHistory,
  WindowLatencies,
} from "./types";

/** Key of all lists of studies. */
export const STUDIES = ["studies"] as const;
/** Most studies of one page of a list; the server's own limit. */
const MOST_STUDIES = 1000;
const LIST_MS = 4_000;
const LOG_MS = 1_500;
const RETRIES = 2;

export const client = new QueryClient({
  defaultOptions: {
    queries: {
      // Live pages are refreshed by events, and others when they are opened again.
      staleTime: 5_000,
      refetchOnWindowFocus: true,
      retry: (count, error) => count < RETRIES && !(error instanceof ApiError && error.status > 0),
    },
  },
});

export const sessionQuery = queryOptions({
  queryKey: ["session"],
  queryFn: ({ signal }) => request<Session>("/api/v1/session", { signal }),
  staleTime: Number.POSITIVE_INFINITY,
  retry: false,
});

/** A page of the list of studies; `wanted` are the parameters of the request. */
export const studyRowsQuery = (wanted: Readonly<Record<string, string>>) =>
  queryOptions({
    queryKey: [...STUDIES, wanted],
    queryFn: ({ signal }) =>
      request<StudyRows>(`/api/v1/study-rows?${new URLSearchParams(wanted)}`, { signal }),
    refetchInterval: LIST_MS,
    placeholderData: keepPreviousData,
  });

/** All studies by name, to choose one. */
export const choiceQuery = studyRowsQuery({ sort: "name", limit: String(MOST_STUDIES) });

export const studyQuery = (name: string) =>
  queryOptions({
    queryKey: ["study", name, "details"],
    queryFn: ({ signal }) => request<StudyDetails>(`${studyUrl(name)}/details`, { signal }),
  });

export const predictionsQuery = (name: string) =>
  queryOptions({
    queryKey: ["study", name, "predictions"],
    queryFn: ({ signal }) => request<StudyPredictions>(`${studyUrl(name)}/predictions`, { signal }),
  });

export const evidenceQuery = (name: string) =>
  queryOptions({
    queryKey: ["study", name, "evidence"],
    queryFn: ({ signal }) => request<StudyEvidence>(`${studyUrl(name)}/evidence`, { signal }),
  });

export const trialQuery = (name: string, trial: number) =>
  queryOptions({
    queryKey: ["study", name, "trial", trial],
    queryFn: ({ signal }) => request<TrialDetails>(`${studyUrl(name)}/trials/${trial}?lines=0`, { signal }),
  });

/** The latencies of a window; `window` is its place in the trial, such as `measurements.0`. */
export const latenciesQuery = (name: string, trial: number, window: string) =>
  queryOptions({
    queryKey: ["study", name, "latencies", trial, window],
    queryFn: ({ signal }) =>
      request<WindowLatencies>(`${studyUrl(name)}/trials/${trial}/latencies?window=${window}`, { signal }),
  });

export const historyQuery = (name: string, trial: number) =>
  queryOptions({
    queryKey: ["study", name, "history", trial],
    queryFn: ({ signal }) => request<TrialHistory>(`${studyUrl(name)}/trials/${trial}/history`, { signal }),
  });

export const logQuery = (name: string, trial: number, lines: number, follow: boolean) =>
  queryOptions({
    queryKey: ["study", name, "log", trial, lines],
    queryFn: ({ signal }) =>
      request<LogTail>(`${studyUrl(name)}/trials/${trial}/log?lines=${lines}`, { signal }),
    refetchInterval: follow ? LOG_MS : false,
    placeholderData: keepPreviousData,
  });

/** The winner as the command line prints it: its command, its data, or a manifest. */
export type WinnerForm = "command" | "json" | Form;

export const winnerQuery = (name: string, form: WinnerForm, options: Readonly<Record<string, string>>) =>
  queryOptions({
    queryKey: ["study", name, "winner", form, options],
    queryFn: ({ signal }) => requestText(winnerUrl(name, form, options), { signal }),
    retry: false,
    placeholderData: keepPreviousData,
  });

export function winnerUrl(name: string, form: WinnerForm, options: Readonly<Record<string, string>>): string {
  if (form === "command") return `${studyUrl(name)}/command`;
  if (form === "json") return `${studyUrl(name)}/best`;
  const given = Object.entries(options).filter(([, value]) => value !== "");
  return `${studyUrl(name)}/manifest?${new URLSearchParams({ form, ...Object.fromEntries(given) })}`;
}

/** The address of a study in the API. */
export function studyUrl(name: string): string {
  return `/api/v1/studies/${encodeURIComponent(name)}`;
}
