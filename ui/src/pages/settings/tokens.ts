import type { Token } from "~/api/types";

export type TokenState = "valid" | "expired" | "revoked";

/** The state of a token; `now` is in seconds since the epoch. */
export function tokenState(token: Pick<Token, "revoked_at" | "expires_at">, now: number): TokenState {
  if (token.revoked_at !== null) return "revoked";
  return token.expires_at !== null && token.expires_at <= now ? "expired" : "valid";
}
