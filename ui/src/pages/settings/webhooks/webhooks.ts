// Webhooks as the page shows them, and the form for a new one as the request that it sends.

import type { Problem, Webhook, WebhookEvent, WebhookForm, WebhookRequest } from "~/api/types";

/** The events in the server's order, with what they mean. */
export const EVENTS: Readonly<Record<WebhookEvent, string>> = {
  "study.finished": "a run ended by itself, or was stopped",
  "study.failed": "a run ended with an error, or could not start",
  "study.winner_found": "a configuration is proven better than the default",
  "study.budget_used": "trials, time or GPU hours of the search are used up",
  "study.waiting": "no worker has been able to run a study for ten minutes",
  "worker.lost": "a worker has been silent for longer than its lease",
};
export const ALL_EVENTS = Object.keys(EVENTS) as readonly WebhookEvent[];

export const FORMS: Readonly<Record<WebhookForm, string>> = {
  json: "JSON, for programs",
  slack: "Text, for Slack and compatible chats",
};

/** Where a value of a new webhook comes from: the form (or, for the secret, the server), or a place on the servers. */
export type Source = "given" | "env" | "file";

export interface Wanted {
  name: string;
  form: WebhookForm;
  events: readonly WebhookEvent[];
  urlSource: Source;
  /** The address, or the variable or the file that has it. */
  url: string;
  secretSource: Source;
  /** The variable or the file that has the signing secret. */
  secret: string;
}

export const BLANK: Wanted = {
  name: "",
  form: "json",
  events: ALL_EVENTS,
  urlSource: "given",
  url: "",
  secretSource: "given",
  secret: "",
};

export function requestOf(wanted: Wanted): WebhookRequest {
  const at = (source: Source, own: Source, value: string) => (source === own ? value.trim() : "");
  return {
    name: wanted.name.trim(),
    form: wanted.form,
    events: wanted.events,
    url: at(wanted.urlSource, "given", wanted.url),
    url_env: at(wanted.urlSource, "env", wanted.url),
    url_file: at(wanted.urlSource, "file", wanted.url),
    secret_env: at(wanted.secretSource, "env", wanted.secret),
    secret_file: at(wanted.secretSource, "file", wanted.secret),
  };
}

export type Place = "name" | "url" | "secret" | "events";
const PLACES: readonly Place[] = ["name", "url", "secret", "events"];

/** The field that a problem is about; null if it is about none. The server names it as in `body.url_env`. */
export function placeOf(problem: Problem): Place | null {
  const where = problem.where.replace(/^body\./, "");
  return PLACES.find((place) => where.startsWith(place.replace(/s$/, ""))) ?? null;
}

/** Where messages go, without what may be secret in the address. */
export function targetText(webhook: Webhook): string {
  return webhook.target || sourceText(webhook.url_source);
}

/** `env:OPS_HOOK` in words; empty if the server keeps the value itself. */
export function sourceText(source: string): string {
  if (source.startsWith("env:")) return `variable ${source.slice("env:".length)}`;
  return source.startsWith("file:") ? `file ${source.slice("file:".length)}` : "";
}

export function eventsText(events: readonly WebhookEvent[]): string {
  return events.length === ALL_EVENTS.length ? "all" : events.join(", ");
}
