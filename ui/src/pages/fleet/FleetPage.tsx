import { useMutation, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { stopStudy } from "~/api/actions";
import { type Fleet, fleetQuery } from "~/api/fleet";
import { client } from "~/api/queries";
import type { LeaseOverview, QueueEntry, WorkerOverview } from "~/api/types";
import { useMay } from "~/api/useScope";
import { PriorityDialog } from "~/components/actions/PriorityDialog";
import { Badge } from "~/components/Badge";
import { type Column, DataTable } from "~/components/DataTable";
import { Problem } from "~/components/Problem";
import { Failed, Stale, Waiting } from "~/components/states";
import type { Tone } from "~/components/tones";
import { age, duration, moment } from "~/format/time";
import { Quiet, StudyLink } from "./cells";
import { LaunchedObjects } from "./LaunchedObjects";
import { labelsText, refusalTexts, waitingFor, workerState } from "./waiting";

/** The queue, the workers, and what running trials hold. */
export function FleetPage() {
  const { data, error, dataUpdatedAt } = useQuery(fleetQuery);
  useEffect(() => {
    document.title = "Queue and workers · Autotuner";
  }, []);
  if (!data && error) return <Failed error={error} />;
  if (!data) return <Waiting what="queue and workers" />;
  const now = dataUpdatedAt / 1000;
  return (
    <>
      <h1>Queue and workers</h1>
      <div className="fleet">
        <Stale error={error} />
        <Queue fleet={data} now={now} />
        <Workers workers={data.workers} now={now} />
        <Leases leases={data.leases} />
        <LaunchedObjects />
      </div>
    </>
  );
}

function Queue({ fleet, now }: { fleet: Fleet; now: number }) {
  const may = useMay("write");
  const hosts = useMemo(() => new Map(fleet.workers.map(({ worker }) => [worker.id, worker.host])), [fleet]);
  const columns: Column<QueueEntry>[] = [
    { id: "position", title: "#", number: true, cell: (entry) => entry.position ?? "" },
    { id: "study", title: "Study", cell: (entry) => <StudyLink name={entry.study} /> },
    {
      id: "state",
      title: "State",
      cell: (entry) => (
        <Badge tone="open" live={entry.state === "running"}>
          {entry.state}
        </Badge>
      ),
    },
    {
      id: "where",
      title: "Worker",
      cell: (entry) =>
        entry.worker_id === null ? (
          <>
            waits for {waitingFor(entry, fleet.workers)}
            {refusalTexts(entry, hosts).map((text) => (
              <div key={text} className="quiet refusal">
                {text}
              </div>
            ))}
          </>
        ) : (
          `on ${hosts.get(entry.worker_id) ?? entry.worker_id}`
        ),
    },
    {
      id: "priority",
      title: "Priority",
      number: true,
      cell: (entry) => (may && entry.state === "queued" ? <PriorityButton entry={entry} /> : entry.priority),
    },
    {
      id: "attempts",
      title: "Attempts",
      number: true,
      cell: (entry) => (
        <span title="Runs without a finished trial; after five, the study fails">{entry.attempts}</span>
      ),
    },
    {
      id: "submitted",
      title: "Submitted",
      number: true,
      cell: (entry) => <Moment at={entry.submitted_at} now={now} />,
    },
    { id: "by", title: "By", cell: (entry) => entry.submitted_by },
    {
      id: "actions",
      title: <span className="hidden">Actions</span>,
      className: "row-actions",
      pinned: true,
      cell: (entry) => may && <Stop entry={entry} />,
    },
  ];
  return (
    <section className="panel" aria-label="Queue">
      <header>
        <h2>Queue</h2>
        <span className="quiet">Higher priorities first, then in the order of submission</span>
      </header>
      <DataTable
        label="Queued studies"
        columns={columns}
        rows={fleet.queue}
        rowId={(entry) => entry.study}
        sort=""
        onSort={() => {}}
        empty="No study waits or is run by a worker. Studies that run in a terminal are not in the queue."
      />
    </section>
  );
}

function PriorityButton({ entry }: { entry: QueueEntry }) {
  const [asked, setAsked] = useState(false);
  return (
    <>
      <button
        type="button"
        className="plain editable"
        title="Change the priority"
        onClick={() => setAsked(true)}
      >
        {entry.priority}
        <span className="hidden"> is the priority of {entry.study}; change it</span>
      </button>
      {asked && <PriorityDialog name={entry.study} queued={true} onClose={() => setAsked(false)} />}
    </>
  );
}

/** Stops a study that a worker runs, or takes it out of the queue. */
function Stop({ entry }: { entry: QueueEntry }) {
  const waits = entry.state === "queued";
  const stopping = useMutation({
    mutationFn: () => stopStudy(entry.study),
    onSettled: () => client.invalidateQueries({ queryKey: fleetQuery.queryKey }),
  });
  const asked = stopping.isPending || (stopping.isSuccess && !waits);
  return (
    <>
      <button type="button" aria-disabled={asked} onClick={() => asked || stopping.mutate()}>
        {asked ? "Stopping…" : waits ? "Unqueue" : "Stop"}
        <span className="hidden"> {entry.study}</span>
      </button>
      <Problem error={stopping.error} />
    </>
  );
}

const WORKER_TONES: Readonly<Record<string, Tone>> = { running: "good", draining: "doubtful", lost: "bad" };

function Workers({ workers, now }: { workers: readonly WorkerOverview[]; now: number }) {
  const [sort, setSort] = useState("");
  const columns: Column<WorkerOverview>[] = [
    { id: "host", title: "Host", value: (one) => one.worker.host, cell: (one) => one.worker.host },
    {
      id: "state",
      title: "State",
      value: workerState,
      cell: (one) => <Badge tone={WORKER_TONES[workerState(one)] ?? "open"}>{workerState(one)}</Badge>,
    },
    {
      id: "studies",
      title: "Runs",
      value: (one) => one.studies.join(),
      cell: (one) =>
        one.studies.length === 0 ? (
          <span className="quiet">nothing</span>
        ) : (
          one.studies.map((name, i) => (
            <span key={name}>
              {i > 0 && ", "}
              <StudyLink name={name} />
            </span>
          ))
        ),
    },
    {
      id: "most",
      title: "At most",
      number: true,
      value: (one) => one.worker.at_most,
      cell: (one) => one.worker.at_most,
    },
    {
      id: "labels",
      title: "Labels",
      value: (one) => labelsText(one.worker.labels),
      cell: (one) => <Quiet text={labelsText(one.worker.labels)} />,
    },
    {
      id: "heartbeat",
      title: "Last heartbeat",
      number: true,
      value: (one) => one.silent_s,
      cell: (one) =>
        one.silent_s < 1 ? "now" : `${one.silent_s < 3600 ? duration(one.silent_s) : age(one.silent_s)} ago`,
    },
    {
      id: "started",
      title: "Started",
      number: true,
      value: (one) => -one.worker.started_at,
      cell: (one) => <Moment at={one.worker.started_at} now={now} />,
    },
    {
      id: "version",
      title: "Version",
      value: (one) => one.worker.version,
      cell: (one) => one.worker.version,
    },
    {
      id: "id",
      title: "Process",
      value: (one) => one.worker.id,
      cell: (one) => `${one.worker.pid} (${one.worker.id})`,
    },
  ];
  return (
    <section className="panel" aria-label="Workers">
      <header>
        <h2>Workers</h2>
        <span className="quiet">Of the last seven days</span>
      </header>
      <DataTable
        label="Workers of this store"
        columns={columns}
        rows={workers}
        rowId={(one) => one.worker.id}
        sort={sort}
        onSort={setSort}
        empty={
          <>
            <p>No worker has run yet, so queued studies wait. Start one on a machine that can run them:</p>
            <code>autotuner worker</code>
          </>
        }
      />
    </section>
  );
}

function Leases({ leases }: { leases: readonly LeaseOverview[] }) {
  const [sort, setSort] = useState("");
  const columns: Column<LeaseOverview>[] = [
    {
      id: "resource",
      title: "Resource",
      className: "mono",
      value: (one) => one.resource,
      cell: (one) => one.resource,
    },
    { id: "study", title: "Study", value: (one) => one.study, cell: (one) => <StudyLink name={one.study} /> },
    { id: "trial", title: "Trial", number: true, value: (one) => one.trial, cell: (one) => one.trial },
    {
      id: "host",
      title: "Held by",
      value: (one) => one.host,
      cell: (one) => (one.host ? `process ${one.pid} on ${one.host}` : <Quiet text="" />),
    },
  ];
  return (
    <section className="panel" aria-label="Leases">
      <header>
        <h2>GPUs and ports in use</h2>
        <span className="quiet">Held by running trials, so that no other trial uses them</span>
      </header>
      <DataTable
        label="Leases of this store"
        columns={columns}
        rows={leases}
        rowId={(one) => one.resource}
        sort={sort}
        onSort={setSort}
        empty="No trial holds anything at the moment."
      />
    </section>
  );
}

function Moment({ at, now }: { at: number; now: number }) {
  return (
    <time dateTime={new Date(at * 1000).toISOString()} title={moment(at)}>
      {age(now - at)}
    </time>
  );
}
