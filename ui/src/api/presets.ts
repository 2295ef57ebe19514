// Presets: named beginnings of studies, which all users of the server share.

import { queryOptions } from "@tanstack/react-query";
import { request, requestText } from "./client";
import { client } from "./queries";
import type { Preset } from "./types";

const BASE = "/api/v1/presets";

export function presetUrl(name: string): string {
  return `${BASE}/${encodeURIComponent(name)}`;
}

export const presetsQuery = queryOptions({
  queryKey: ["presets"],
  queryFn: ({ signal }) => request<Preset[]>(BASE, { signal }),
});

/** The text of a preset, read each time: a study must begin with what is stored. */
export const presetQuery = (name: string) =>
  queryOptions({
    queryKey: ["presets", name],
    queryFn: ({ signal }) => requestText(presetUrl(name), { signal }),
    gcTime: 0,
    staleTime: Number.POSITIVE_INFINITY,
  });

/** Stores a preset, or replaces the one with this name. */
export const savePreset = (name: string, text: string): Promise<Preset> =>
  changing(
    request<Preset>(presetUrl(name), {
      method: "PUT",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ text }),
    }),
  );

export const removePreset = (name: string): Promise<void> =>
  changing(request<void>(presetUrl(name), { method: "DELETE" }));

async function changing<T>(change: Promise<T>): Promise<T> {
  try {
    return await change;
  } finally {
    // Not the texts: an editor that is open keeps what it began with.
    await client.invalidateQueries({ queryKey: presetsQuery.queryKey, exact: true });
  }
}
