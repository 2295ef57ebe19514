import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useMemo } from "react";
import { studiesQuery } from "~/api/queries";
import { useMay } from "~/api/useScope";
import { DataTable } from "~/components/DataTable";
import { Empty, Failed, Waiting } from "~/components/states";
import { studyColumns } from "./columns";
import { choices, filtered, studyRows } from "./rows";
import { type StudiesSearch, studiesSearch } from "./search";

export function StudiesPage() {
  const given = useSearch({ from: "/signed-in/studies" });
  // The router adds what it validated to what the address says; only the former counts.
  const search = useMemo(() => studiesSearch({ ...given }), [given]);
  const navigate = useNavigate();
  const { data, error, dataUpdatedAt } = useQuery(studiesQuery);
  const rows = useMemo(() => studyRows(data?.items ?? []), [data]);
  const shown = useMemo(() => filtered(rows, search), [rows, search]);
  const writes = useMay("write");
  const columns = useMemo(() => studyColumns(dataUpdatedAt / 1000, writes), [dataUpdatedAt, writes]);
  useEffect(() => {
    document.title = "Studies · Autotuner";
  }, []);
  const change = (part: { [K in keyof StudiesSearch]: string }) => {
    const kept = Object.entries({ ...search, ...part }).filter(([, value]) => value !== "");
    navigate({ to: "/studies", search: Object.fromEntries(kept), replace: true });
  };
  if (error && !data) return <Failed error={error} />;
  if (!data) return <Waiting what="studies" />;
  if (rows.length === 0) {
    return (
      <Empty title="No studies yet">
        {writes && (
          <p>
            <Link className="button" to="/new">
              New study
            </Link>
          </p>
        )}
        <p className="quiet">A study that is started elsewhere appears here, too:</p>
        <pre>autotuner run study.yaml</pre>
      </Empty>
    );
  }
  return (
    <>
      <h1 className="hidden">Studies</h1>
      {error && <Stale />}
      <div className="panel">
        <header>
          <search className="bar">
            <input
              type="search"
              aria-label="Name"
              placeholder="Filter by name"
              value={search.q ?? ""}
              onChange={(event) => change({ q: event.target.value })}
            />
            <Choice
              label="State"
              value={search.state}
              options={choices(rows, (row) => [row.standing])}
              onChange={(state) => change({ state })}
            />
            <Choice
              label="Engine"
              value={search.engine}
              options={choices(rows, (row) => row.engines)}
              onChange={(engine) => change({ engine })}
            />
          </search>
          <span className="grow" />
          <span className="quiet" role="status">
            {shown.length === rows.length ? rows.length : `${shown.length} of ${rows.length}`}{" "}
            {rows.length === 1 ? "study" : "studies"}
          </span>
          {writes && (
            <Link className="button" to="/new">
              New study
            </Link>
          )}
        </header>
        <DataTable
          label="Studies"
          columns={columns}
          rows={shown}
          rowId={(row) => row.study.name}
          sort={search.sort ?? ""}
          onSort={(sort) => change({ sort })}
          empty={
            <>
              <p>No study matches these filters.</p>
              <button type="button" onClick={() => change({ q: "", state: "", engine: "" })}>
                Clear filters
              </button>
            </>
          }
        />
      </div>
    </>
  );
}

function Stale() {
  return (
    <p className="simulated" role="alert">
      The server does not answer; this is the last that it sent.
    </p>
  );
}

interface ChoiceProps {
  label: string;
  value: string | undefined;
  options: readonly string[];
  onChange: (value: string) => void;
}

function Choice({ label, value, options, onChange }: ChoiceProps) {
  // A value in the address that no study has any more must be visible, or the empty list would be a riddle.
  const all = value === undefined || options.includes(value) ? options : [...options, value];
  return (
    <label>
      {label}
      <select value={value ?? ""} onChange={(event) => onChange(event.target.value)}>
        <option value="">all</option>
        {all.map((option) => (
          <option key={option}>{option}</option>
        ))}
      </select>
    </label>
  );
}
