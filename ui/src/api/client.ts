// Requests to the server that this page came from, authenticated by its cookie; or to the data in the page.

import type { ErrorBody, ErrorDetail, Problem } from "~/api/types";
import { learn } from "./server";

/** An error that the server explained, or that kept us from reaching it (status 0). */
export class ApiError extends Error {
  readonly status: number;
  readonly kind: string;
  readonly hint: string;
  /** Faults of the input, each with its place. */
  readonly problems: readonly Problem[];

  constructor(status: number, detail: Pick<ErrorDetail, "kind" | "message"> & Partial<ErrorDetail>) {
    super(detail.message);
    this.status = status;
    this.kind = detail.kind;
    this.hint = detail.hint ?? "";
    this.problems = detail.problems ?? [];
  }
}

const UNREACHABLE = {
  kind: "unreachable",
  message: "the server does not answer",
  hint: "autotuner serve may have ended, or the network is down",
};

/** What a server would answer at an address. */
export type Answer = (path: string) => unknown;

let answer: Answer | null = null;

/** Has all requests answered without a server, by the data of a report. */
export function answerFrom(source: Answer): void {
  answer = source;
}

/** Whether there is no server: this page is a report. */
export function isOffline(): boolean {
  return answer !== null;
}

/** Sends a request and reads its JSON. */
export async function request<T>(path: string, init: RequestInit = {}): Promise<T> {
  if (answer) return answer(path) as T;
  const response = await send(path, init);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

/** Sends a request and reads its text. */
export async function requestText(path: string, init: RequestInit = {}): Promise<string> {
  if (answer) return String(answer(path));
  return (await send(path, init)).text();
}

/** Sends data as JSON. */
export function post<T>(path: string, body: unknown, init: RequestInit = {}): Promise<T> {
  return request<T>(path, {
    method: "POST",
    ...init,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

async function send(path: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...init });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, UNREACHABLE);
  }
  learn(response);
  if (!response.ok) throw await explained(response);
  return response;
}

async function explained(response: Response): Promise<ApiError> {
  try {
    return new ApiError(response.status, ((await response.json()) as ErrorBody).error);
  } catch {
    // A proxy in front of the server answers with a page of its own.
    return new ApiError(response.status, {
      kind: "failed",
      message: `the server answered ${response.status}`,
    });
  }
}
