// What a page shows when it has nothing else to show: waiting, nothing there, an error.

import { Link, useLocation, useRouter } from "@tanstack/react-router";
import { type ReactNode, useEffect, useState } from "react";
import { ApiError } from "~/api/client";
import { known, OutdatedError, ScriptError } from "~/api/server";

const SLOW_MS = 8_000;

/** Waits for data, and says so when it takes unusually long. */
export function Waiting({ what }: { what: string }) {
  const [slow, setSlow] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setSlow(true), SLOW_MS);
    return () => clearTimeout(timer);
  }, []);
  return (
    <div className="state" role="status">
      <p className="quiet">Reading {what}…</p>
      {slow && <p>This takes longer than usual. The server may be busy, or the network slow.</p>}
    </div>
  );
}

/** Says that there is nothing, and what to do about it. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="state">
      <h2>{title}</h2>
      {children}
    </div>
  );
}

/** An error with what can be done about it. */
export function Failed({ error, reset }: { error: unknown; reset?: () => void }) {
  const router = useRouter();
  const refusal = error instanceof ApiError ? error : null;
  if (error instanceof OutdatedError || (refusal === null && known().updatedTo !== null)) return <Outdated />;
  if (error instanceof ScriptError) return <Incomplete />;
  const retry = () => {
    reset?.();
    router.invalidate();
  };
  const ended = refusal?.status === 401;
  return (
    <div className="state bad" role="alert">
      <h2>{title(refusal)}</h2>
      {!ended && refusal?.status !== 0 && (
        <p>{refusal?.message ?? (error instanceof Error ? error.message : "unknown error")}</p>
      )}
      {!ended && refusal?.hint && <p className="quiet">{refusal.hint}</p>}
      <p className="actions">
        <button type="button" onClick={retry}>
          Try again
        </button>
        {ended ? (
          <SignInAgain />
        ) : (
          <Link className="button" to="/studies">
            All studies
          </Link>
        )}
      </p>
    </div>
  );
}

/** Leads back to this page. */
export function SignInAgain() {
  const next = useLocation({ select: (location) => location.href });
  return (
    <Link className="button" to="/sign-in" search={{ next }}>
      Sign in
    </Link>
  );
}

/** Says that what is shown may be old, above the data. The frame of the page says that the session has ended. */
export function Stale({ error }: { error: unknown }) {
  if (!error || (error instanceof ApiError && error.status === 401)) return null;
  const silent = error instanceof ApiError && error.status === 0;
  return (
    <p className="simulated" role="alert">
      {silent ? "The server does not answer" : "The server cannot answer at the moment"}; this is the last
      that it sent.
    </p>
  );
}

/** Instead of a page that cannot be shown because the server was updated. */
function Outdated() {
  return (
    <NeedsReload title="This page is out of date">The server was updated since it was loaded.</NeedsReload>
  );
}

/** Instead of a page whose script did not arrive. */
function Incomplete() {
  return (
    <NeedsReload title="This page could not be loaded">
      One of its scripts did not arrive. The server may be busy, or the network unreliable.
    </NeedsReload>
  );
}

function NeedsReload({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div className="state" role="alert">
      <h2>{title}</h2>
      <p>{children}</p>
      <p className="actions">
        <Reload />
      </p>
    </div>
  );
}

/** The user decides when: what was typed into forms is lost. */
export function Reload() {
  return (
    <button type="button" onClick={() => location.reload()}>
      Reload
    </button>
  );
}

function title(error: ApiError | null): string {
  if (error === null) return "This page does not work";
  if (error.status === 0) return "The server does not answer";
  if (error.status === 401) return "Your session has ended";
  return error.status === 404 ? "Not found" : "The server refused this";
}

export function NotFound() {
  return (
    <main className="page">
      <Empty title="Page not found">
        <p>
          <Link to="/studies">All studies</Link>
        </p>
      </Empty>
    </main>
  );
}
