import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useMemo } from "react";
import { studyRowsQuery } from "~/api/queries";
import { useMay } from "~/api/useScope";
import { DataTable } from "~/components/DataTable";
import { Pager } from "~/components/Pager";
import { Empty, Failed, Stale, Waiting } from "~/components/states";
import { studyColumns } from "./columns";
import { lastPage, listed, PAGE_ROWS, wantedRows } from "./rows";
import { onPage, type StudiesSearch, studiesSearch } from "./search";

export function StudiesPage() {
  const given = useSearch({ from: "/signed-in/studies" });
  // The router adds what it validated to what the address says; only the former counts.
  const search = useMemo(() => studiesSearch({ ...given }), [given]);
  const navigate = useNavigate();
  const { data, error, dataUpdatedAt, isPlaceholderData } = useQuery(studyRowsQuery(wantedRows(search)));
  const rows = useMemo(() => listed(data?.items ?? [], data?.offset ?? 0), [data]);
  const writes = useMay("write");
  const columns = useMemo(() => studyColumns(dataUpdatedAt / 1000, writes), [dataUpdatedAt, writes]);
  useEffect(() => {
    document.title = "Studies · Autotuner";
  }, []);
  // Other filters and another order begin with their first page.
  const change = (part: Omit<StudiesSearch, "page">) => {
    const kept = Object.entries({ ...onPage(search, 1), ...part }).filter(([, value]) => value !== "");
    navigate({ to: "/studies", search: Object.fromEntries(kept), replace: true });
  };
  const page = search.page ?? 1;
  // Studies were deleted, or the address is an old one.
  const beyond = data && !isPlaceholderData && page > lastPage(data.total) ? lastPage(data.total) : null;
  useEffect(() => {
    if (beyond !== null) navigate({ to: "/studies", search: onPage(search, beyond), replace: true });
  }, [beyond, navigate, search]);
  if (error && !data) return <Failed error={error} />;
  if (!data) return <Waiting what="studies" />;
  const all = Object.values(data.standings).reduce((sum, count) => sum + count, 0);
  if (all === 0) {
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
      <Stale error={error} />
      <div className="panel studies">
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
              options={Object.keys(data.standings).sort()}
              onChange={(state) => change({ state })}
            />
            <Choice
              label="Engine"
              value={search.engine}
              options={data.engines}
              onChange={(engine) => change({ engine })}
            />
          </search>
          <span className="grow" />
          <div className="bar">
            <span className="quiet" role="status">
              {data.total === all ? all : `${data.total} of ${all}`} {all === 1 ? "study" : "studies"}
            </span>
            {writes && (
              <Link className="button" to="/new">
                New study
              </Link>
            )}
          </div>
        </header>
        <DataTable
          // Another page begins at its top.
          key={data.offset}
          label="Studies"
          columns={columns}
          rows={rows}
          rowId={(row) => row.study.name}
          sort={search.sort ?? ""}
          onSort={(sort) => change({ sort })}
          inOrder
          empty={
            <>
              <p>No study matches these filters.</p>
              <button type="button" onClick={() => change({ q: "", state: "", engine: "" })}>
                Clear filters
              </button>
            </>
          }
        />
        <Pager
          label="Pages of the list"
          // That of the rows, which are still those of the page before while the next one is loaded.
          page={data.offset / PAGE_ROWS + 1}
          rowsPerPage={PAGE_ROWS}
          total={data.total}
          onPage={(to) => navigate({ to: "/studies", search: onPage(search, to) })}
        />
      </div>
    </>
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
