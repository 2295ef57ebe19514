import { useMutation } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { type SyntheticEvent, useEffect, useState } from "react";
import { ApiError, post } from "~/api/client";
import { client, sessionQuery } from "~/api/queries";
import type { Session } from "~/api/types";
import { takeCode } from "./code";
import { localAddress } from "./next";

export function SignInPage() {
  const next = localAddress(useSearch({ from: "/sign-in" }).next);
  const navigate = useNavigate();
  const [token, setToken] = useState("");
  const { mutate, ...signIn } = useMutation({
    mutationFn: (shown: { code: string } | { token: string }) => post<Session>("/api/v1/session", shown),
    onSuccess: async (session) => {
      client.clear();
      client.setQueryData(sessionQuery.queryKey, session);
      await navigate({ to: next, replace: true });
    },
  });
  useEffect(() => {
    document.title = "Sign in · Autotuner";
    const code = takeCode();
    if (code !== null) mutate({ code });
  }, [mutate]);
  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    mutate({ token });
  };
  return (
    <main className="sign-in">
      <h1>
        <svg viewBox="0 0 32 32" aria-hidden="true">
          <path d="M4 24 12 15l6 5L28 7" />
          <circle cx="28" cy="7" r="3" />
        </svg>
        Autotuner
      </h1>
      <form onSubmit={submit}>
        <label htmlFor="token">Token</label>
        <input
          id="token"
          type="password"
          autoComplete="off"
          spellCheck={false}
          required
          value={token}
          onChange={(event) => setToken(event.target.value)}
          aria-describedby="token-help"
        />
        <p id="token-help" className="quiet">
          <code>autotuner token create NAME</code> creates one. To sign in without a token, open the address
          that <code>autotuner serve</code> prints when it starts.
        </p>
        <button type="submit" className="primary" disabled={signIn.isPending}>
          {signIn.isPending ? "Signing in…" : "Sign in"}
        </button>
        <div role="alert">{signIn.error && <p className="bad">{reason(signIn.error)}</p>}</div>
      </form>
    </main>
  );
}

function reason(error: Error): string {
  const text = error.message;
  const hint = error instanceof ApiError && error.hint ? `; ${error.hint}` : "";
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${hint}.`;
}
