import { useQuery } from "@tanstack/react-query";
import { queueQuery } from "~/api/fleet";

/** Where a study waits in the queue, and with which priority. */
export function QueuePlace({ name }: { name: string }) {
  const entry = useQuery(queueQuery).data?.find(({ study }) => study === name);
  // It takes a line in a narrow window, also while the queue is read.
  const place = entry && entry.position !== null ? `number ${entry.position} in` : "in";
  return (
    <span className="quiet">
      {place} the queue{entry && `, priority ${entry.priority}`}
      {entry?.no_worker && `; ${entry.no_worker}`}
    </span>
  );
}

/** Beside the state of a queued study: whether no worker can run it. */
export function NoWorker({ name }: { name: string }) {
  const why = useQuery(queueQuery).data?.find(({ study }) => study === name)?.no_worker;
  return why ? (
    <span className="doubtful small" title={why}>
      {" "}
      no worker<span className="hidden"> can run it: {why}</span>
    </span>
  ) : null;
}
