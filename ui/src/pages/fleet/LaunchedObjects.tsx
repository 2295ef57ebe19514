import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { launchedQuery } from "~/api/fleet";
import type { LaunchedObjects as Launched, LaunchedOverview } from "~/api/types";
import { Badge } from "~/components/Badge";
import { type Column, DataTable } from "~/components/DataTable";
import { Problem } from "~/components/Problem";
import type { Tone } from "~/components/tones";
import { Quiet, StudyLink } from "./cells";

const STATES: Readonly<Record<LaunchedOverview["state"], { tone: Tone; title: string }>> = {
  in_use: { tone: "good", title: "Its run is alive" },
  left_behind: { tone: "doubtful", title: "Its run has ended; autotuner reap removes it" },
  unknown: {
    tone: "open",
    title: "Its run is not in this store, or it is not certain yet whether it is alive",
  },
};

const COLUMNS: Column<LaunchedOverview>[] = [
  { id: "kind", title: "Kind", value: (one) => one.kind, cell: (one) => one.kind },
  {
    id: "state",
    title: "State",
    value: (one) => one.state,
    cell: (one) => (
      <span title={STATES[one.state].title}>
        <Badge tone={STATES[one.state].tone}>{one.state.replace("_", " ")}</Badge>
      </span>
    ),
  },
  {
    id: "study",
    title: "Study",
    value: (one) => one.study,
    // A run of another store has no page here.
    cell: (one) => (one.state === "unknown" ? <Quiet text={one.study} /> : <StudyLink name={one.study} />),
  },
  {
    id: "trial",
    title: "Trial",
    number: true,
    value: (one) => one.trial,
    cell: (one) => one.trial ?? <Quiet text="" />,
  },
  { id: "name", title: "Name", className: "mono", value: (one) => one.name, cell: (one) => one.name },
];

/** Processes, containers and pods of runs. Read apart from the rest, because targets may take seconds to answer. */
export function LaunchedObjects() {
  const { data, error } = useQuery(launchedQuery);
  return (
    <section className="panel" aria-label="Processes, containers and pods">
      <header>
        <h2>Processes, containers and pods</h2>
        <span className="quiet">
          On the server's machine and the targets of stored studies; <code>autotuner reap</code> removes what
          is left behind
        </span>
      </header>
      {error && (
        <div className="note">
          <Problem error={error} />
        </div>
      )}
      {data ? (
        <Found launched={data} />
      ) : (
        !error && (
          <p className="empty quiet" role="status">
            Asking Docker and Kubernetes…
          </p>
        )
      )}
    </section>
  );
}

function Found({ launched }: { launched: Launched }) {
  const [sort, setSort] = useState("");
  return (
    <>
      <DataTable
        label="Processes, containers and pods of runs"
        columns={COLUMNS}
        rows={launched.objects}
        rowId={(one) => [one.deploy, one.kind, one.name, one.study, one.trial].join(" ")}
        sort={sort}
        onSort={setSort}
        empty="None."
      />
      {launched.unreachable.map(({ deploy, reason }) => (
        <p key={`${deploy} ${reason}`} className="note quiet">
          {deploy} cannot be listed: {reason}
        </p>
      ))}
    </>
  );
}
