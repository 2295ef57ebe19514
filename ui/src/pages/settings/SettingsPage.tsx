import "~/styles/settings.css";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { auditQuery, tokensQuery } from "~/api/access";
import type { AuditEntry, Token } from "~/api/types";
import { useMay } from "~/api/useScope";
import { Badge } from "~/components/Badge";
import { type Column, DataTable } from "~/components/DataTable";
import { Empty, Failed, Waiting } from "~/components/states";
import type { Tone } from "~/components/tones";
import { age, moment } from "~/format/time";
import { CreateToken } from "./CreateToken";
import { RevokeButton } from "./RevokeButton";
import { tokenState } from "./tokens";
import { Webhooks } from "./webhooks/Webhooks";

/** Tokens of the server's clients, webhooks, and what clients changed; for administrators. */
export function SettingsPage() {
  const may = useMay("admin");
  useEffect(() => {
    document.title = "Settings · Autotuner";
  }, []);
  return (
    <>
      <h1>Settings</h1>
      {may ? (
        <div className="fleet">
          <Tokens />
          <Webhooks />
          <Audit />
        </div>
      ) : (
        <Empty title="Only administrators manage tokens and webhooks">
          <p className="quiet">
            Sign in with the address that <code>autotuner serve</code> prints, or with a token with the scope
            admin.
          </p>
        </Empty>
      )}
    </>
  );
}

const TONES: Readonly<Record<string, Tone>> = { valid: "good", expired: "doubtful", revoked: "bad" };

function Tokens() {
  const { data, error, dataUpdatedAt } = useQuery(tokensQuery);
  const [sort, setSort] = useState("");
  const [all, setAll] = useState(false);
  if (!data && error) return <Failed error={error} />;
  if (!data) return <Waiting what="tokens" />;
  const now = dataUpdatedAt / 1000;
  const shown = data.filter((token) => all || tokenState(token, now) === "valid").reverse();
  const columns: Column<Token>[] = [
    { id: "name", title: "Name", value: (token) => token.name, cell: (token) => token.name },
    { id: "scope", title: "Scope", value: (token) => token.scope, cell: (token) => token.scope },
    {
      id: "state",
      title: "State",
      value: (token) => tokenState(token, now),
      cell: (token) => <Badge tone={TONES[tokenState(token, now)] ?? "open"}>{tokenState(token, now)}</Badge>,
    },
    {
      id: "created",
      title: "Created",
      number: true,
      value: (token) => -token.created_at,
      cell: (token) => <span title={moment(token.created_at)}>{age(now - token.created_at)}</span>,
    },
    {
      id: "used",
      title: "Last used",
      number: true,
      value: (token) => (token.used_at === null ? null : -token.used_at),
      cell: (token) =>
        token.used_at === null ? (
          <span className="quiet">never</span>
        ) : (
          <span title={moment(token.used_at)}>{age(now - token.used_at)}</span>
        ),
    },
    {
      id: "expires",
      title: "Expires",
      value: (token) => token.expires_at,
      cell: (token) =>
        token.expires_at === null ? <span className="quiet">never</span> : moment(token.expires_at),
    },
    { id: "id", title: "Id", className: "mono", value: (token) => token.id, cell: (token) => token.id },
    {
      id: "actions",
      title: <span className="hidden">Actions</span>,
      className: "row-actions",
      pinned: true,
      cell: (token) => tokenState(token, now) === "valid" && <RevokeButton token={token} />,
    },
  ];
  return (
    <section className="panel" aria-label="Tokens">
      <header>
        <h2>Tokens and browser sessions</h2>
        <span className="grow" />
        <span className="bar">
          <label>
            <input type="checkbox" checked={all} onChange={(event) => setAll(event.target.checked)} />
            Expired and revoked
          </label>
        </span>
      </header>
      <CreateToken />
      <DataTable
        label="All tokens"
        columns={columns}
        rows={shown}
        rowId={(token) => token.id}
        sort={sort}
        onSort={setSort}
        empty="There is no valid token."
      />
    </section>
  );
}

function Audit() {
  const { data, error } = useQuery(auditQuery);
  const [sort, setSort] = useState("");
  if (!data && error) return <Failed error={error} />;
  if (!data) return <Waiting what="the audit" />;
  const rows = data.map((entry, index) => ({ ...entry, index }));
  const columns: Column<AuditEntry & { index: number }>[] = [
    { id: "at", title: "When", value: (entry) => -entry.at, cell: (entry) => moment(entry.at) },
    {
      id: "name",
      title: "Who",
      value: (entry) => entry.name,
      cell: (entry) => <span title={entry.caller}>{entry.name}</span>,
    },
    {
      id: "action",
      title: "Action",
      value: (entry) => entry.action,
      cell: (entry) => entry.action.replaceAll("_", " "),
    },
    {
      id: "target",
      title: "Target",
      className: "mono",
      value: (entry) => entry.target,
      cell: (entry) => entry.target,
    },
    {
      id: "status",
      title: "Status",
      number: true,
      value: (entry) => entry.status,
      cell: (entry) => <span className={entry.status < 400 ? "good" : "bad"}>{entry.status}</span>,
    },
  ];
  return (
    <section className="panel" aria-label="Audit">
      <header>
        <h2>Audit</h2>
        <span className="quiet">
          What clients requested to change, the newest first; also what was refused
        </span>
      </header>
      <DataTable
        label="Audited requests"
        columns={columns}
        rows={rows}
        rowId={(entry) => String(entry.index)}
        sort={sort}
        onSort={setSort}
        empty="No client has changed anything."
      />
    </section>
  );
}
