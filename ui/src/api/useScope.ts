import { useQuery } from "@tanstack/react-query";
import { sessionQuery } from "./queries";
import type { TokenScope } from "./types";

const SCOPES: readonly TokenScope[] = ["read", "write", "admin"];

/** Whether the session allows what needs this scope; each scope includes those before it. */
export function useMay(needed: TokenScope): boolean {
  const { data } = useQuery(sessionQuery);
  return data !== undefined && SCOPES.indexOf(data.scope) >= SCOPES.indexOf(needed);
}
