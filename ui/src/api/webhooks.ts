// Webhooks of the server: where it sends messages about studies and workers.

import { queryOptions } from "@tanstack/react-query";
import { post, request } from "./client";
import { client } from "./queries";
import type { NewWebhook, WebhookAttempt, WebhookRequest, WebhookStatus } from "./types";

const BASE = "/api/v1/webhooks";
/** Messages are sent at any time, and change what the list says of them. */
const LIST_MS = 5_000;

export const webhooksQuery = queryOptions({
  queryKey: ["access", "webhooks"],
  queryFn: ({ signal }) => request<WebhookStatus[]>(BASE, { signal }),
  refetchInterval: LIST_MS,
});

export const addWebhook = (wanted: WebhookRequest): Promise<NewWebhook> =>
  changing(post<NewWebhook>(BASE, wanted));

/** Removes a webhook with the messages that wait for it. */
export const removeWebhook = (id: string): Promise<void> =>
  changing(request<void>(`${BASE}/${encodeURIComponent(id)}`, { method: "DELETE" }));

/** Has the server send one message; a failed delivery is an answer, not an error. */
export const testWebhook = (id: string): Promise<WebhookAttempt> =>
  changing(request<WebhookAttempt>(`${BASE}/${encodeURIComponent(id)}/test`, { method: "POST" }));

async function changing<T>(change: Promise<T>): Promise<T> {
  try {
    return await change;
  } finally {
    // With the audit, which has refused requests, too.
    await client.invalidateQueries({ queryKey: ["access"] });
  }
}
