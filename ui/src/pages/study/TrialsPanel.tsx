import { Link } from "@tanstack/react-router";
import { useMemo } from "react";
import type { Live } from "~/api/live";
import type { StudyDetails, TrialRow } from "~/api/types";
import { DataTable } from "~/components/DataTable";
import { MOST } from "../compare/search";
import { differing, trialColumns } from "./trialColumns";
import { useStudyPage } from "./useStudyPage";

interface Props {
  details: StudyDetails;
  index: ReadonlyMap<number, number>;
  live: Live;
}

/** All trials, best first. */
export function TrialsPanel({ details, index, live }: Props) {
  const { search, picked, change, pick } = useStudyPage();
  const candidates = useMemo(
    () => details.trials.filter((row) => search.repeats || row.role !== "confirm"),
    [details, search.repeats],
  );
  const shown = useMemo(
    () =>
      candidates.filter(
        (row) =>
          (search.outcome === undefined || row.outcome === search.outcome) &&
          (picked.size === 0 || picked.has(String(row.number))),
      ),
    [candidates, picked, search.outcome],
  );
  const parameters = useMemo(
    () => (search.all ? details.parameters : differing(details.parameters, shown)),
    [details, shown, search.all],
  );
  const columns = useMemo(
    () => trialColumns({ details, index, live, parameters }),
    [details, index, live, parameters],
  );
  const outcomes = [...new Set(candidates.map((row) => row.outcome))].sort();
  const repeats = details.trials.some((row) => row.role === "confirm");
  return (
    <section className="panel trials" aria-label="Trials">
      <header>
        <h2>Trials</h2>
        <span className="quiet" role="status">
          {shown.length === candidates.length ? candidates.length : `${shown.length} of ${candidates.length}`}
        </span>
        {picked.size > 0 && (
          <button type="button" onClick={() => pick([])}>
            Clear selection of {picked.size}
          </button>
        )}
        {picked.size >= 2 && picked.size <= MOST && (
          <Link
            className="button"
            to="/studies/$name/compare"
            params={{ name: details.name }}
            search={{ trials: [...picked].join(",") }}
          >
            Compare {picked.size}
          </Link>
        )}
        <span className="grow" />
        <div className="bar">
          <label>
            Outcome
            <select
              value={search.outcome ?? ""}
              onChange={(event) => change({ outcome: event.target.value })}
            >
              <option value="">all</option>
              {(search.outcome === undefined || outcomes.includes(search.outcome)
                ? outcomes
                : [...outcomes, search.outcome]
              ).map((outcome) => (
                <option key={outcome}>{outcome}</option>
              ))}
            </select>
          </label>
          {repeats && (
            <Toggle label="Repeats" on={search.repeats ?? false} onChange={(on) => change({ repeats: on })} />
          )}
          <Toggle label="Only differences" on={!search.all} onChange={(on) => change({ all: !on })} />
        </div>
      </header>
      <DataTable
        label="Trials of this study"
        columns={columns}
        rows={shown}
        rowId={rowId}
        rowClass={(row) => (row.tone === "best" ? "best" : row.role === "confirm" ? "repeat" : "")}
        sort={search.sort ?? ""}
        onSort={(sort) => change({ sort })}
        empty={
          details.trials.length === 0 ? (
            <p>No trial has started yet.</p>
          ) : (
            <>
              <p>No trial matches.</p>
              <button type="button" onClick={() => change({ outcome: "", pick: "" })}>
                Show all
              </button>
            </>
          )
        }
      />
    </section>
  );
}

function rowId(row: TrialRow): string {
  return String(row.number);
}

function Toggle({ label, on, onChange }: { label: string; on: boolean; onChange: (on: boolean) => void }) {
  return (
    <label>
      <input type="checkbox" checked={on} onChange={(event) => onChange(event.target.checked)} />
      {label}
    </label>
  );
}
