import { useQuery } from "@tanstack/react-query";
import { Link, Outlet, useNavigate } from "@tanstack/react-router";
import { request } from "~/api/client";
import { client, sessionQuery } from "~/api/queries";
import { useKnown } from "~/api/server";
import { useMay } from "~/api/useScope";
import { Reload, SignInAgain } from "./states";
import { ThemeSwitch } from "./ThemeSwitch";

/** The frame around every page. */
export function Shell() {
  const writes = useMay("write");
  const admin = useMay("admin");
  return (
    <>
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <header className="top">
        <Link to="/studies" className="brand" aria-label="Autotuner: all studies">
          <svg viewBox="0 0 32 32" aria-hidden="true">
            <path d="M4 24 12 15l6 5L28 7" />
            <circle cx="28" cy="7" r="3" />
          </svg>
          <span>Autotuner</span>
        </Link>
        <nav aria-label="Main">
          <Link to="/studies" activeProps={{ "aria-current": "page" }}>
            Studies
          </Link>
          <Link to="/presets" activeProps={{ "aria-current": "page" }}>
            Presets
          </Link>
          <Link to="/fleet" activeProps={{ "aria-current": "page" }}>
            Workers
          </Link>
          {writes && (
            <Link to="/doctor" activeProps={{ "aria-current": "page" }}>
              Doctor
            </Link>
          )}
          {admin && (
            <Link to="/settings" activeProps={{ "aria-current": "page" }}>
              Settings
            </Link>
          )}
        </nav>
        <span className="grow" />
        <ThemeSwitch />
        <Account />
      </header>
      <Banner />
      <main id="main" className="page" tabIndex={-1}>
        <Outlet />
      </main>
    </>
  );
}

/** What happened to the server or the session; always there, so that screen readers announce what appears in it. */
function Banner() {
  const { updatedTo, sessionEnded } = useKnown();
  return (
    <div role="status">
      {sessionEnded && (
        <p className="banner">
          Your session has ended. <SignInAgain />
        </p>
      )}
      {updatedTo !== null && (
        <p className="banner">
          The server was updated to {updatedTo}. Reload this page. <Reload />
        </p>
      )}
    </div>
  );
}

function Account() {
  const session = useQuery(sessionQuery);
  const navigate = useNavigate();
  const signOut = async () => {
    await request("/api/v1/session", { method: "DELETE" });
    client.clear();
    await navigate({ to: "/sign-in", search: {} });
  };
  if (!session.data) return null;
  return (
    <details className="menu" name="menu">
      <summary>
        <span className="hidden">Account: </span>
        {session.data.scope}
      </summary>
      <div className="menu-body">
        <p>{session.data.name}</p>
        <p className="quiet">
          May {session.data.scope} · version {session.data.version}
        </p>
        <button type="button" onClick={signOut}>
          Sign out
        </button>
      </div>
    </details>
  );
}
