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
    </span>
  );
}
