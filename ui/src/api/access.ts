// Tokens of the server's clients, and what they changed.

import { queryOptions } from "@tanstack/react-query";
import { post, request } from "./client";
import { client } from "./queries";
import type { AuditEntry, NewToken, Token, TokenScope } from "./types";

const AUDIT_ENTRIES = 200;

export const tokensQuery = queryOptions({
  queryKey: ["access", "tokens"],
  queryFn: ({ signal }) => request<Token[]>("/api/v1/tokens", { signal }),
});

export const auditQuery = queryOptions({
  queryKey: ["access", "audit"],
  queryFn: ({ signal }) => request<AuditEntry[]>(`/api/v1/audit?limit=${AUDIT_ENTRIES}`, { signal }),
});

export async function createToken(wanted: {
  name: string;
  scope: TokenScope;
  days: number | null;
}): Promise<NewToken> {
  const made = await post<NewToken>("/api/v1/tokens", wanted);
  await client.invalidateQueries({ queryKey: ["access"] });
  return made;
}

export async function revokeToken(id: string): Promise<void> {
  await request<void>(`/api/v1/tokens/${encodeURIComponent(id)}`, { method: "DELETE" });
  await client.invalidateQueries({ queryKey: ["access"] });
}
