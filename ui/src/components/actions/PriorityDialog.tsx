import { useMutation, useQuery } from "@tanstack/react-query";
import { type SyntheticEvent, useId, useState } from "react";
import { startStudy } from "~/api/actions";
import { queueQuery } from "~/api/fleet";
import type { QueueEntry } from "~/api/types";
import { Dialog, Dismiss } from "~/components/Dialog";
import { Problem } from "~/components/Problem";

const MOST = 1000;

function priorityOf(name: string, queue: readonly QueueEntry[]): number {
  return queue.find((entry) => entry.study === name)?.priority ?? 0;
}

interface Props {
  name: string;
  /** Whether the study waits in the queue already, where it keeps its place among those of its priority. */
  queued: boolean;
  onClose: () => void;
}

/** Puts a study into the queue with a priority, or changes that of one in it. */
export function PriorityDialog({ name, queued, onClose }: Props) {
  const id = useId();
  const queue = useQuery({ ...queueQuery, enabled: queued });
  const [typed, setTyped] = useState<string | null>(null);
  // Empty until the present one is known, so that it is not replaced by accident.
  const present = queued && !queue.data ? "" : priorityOf(name, queue.data ?? []);
  const value = typed ?? String(present);
  const starting = useMutation({ mutationFn: () => startStudy(name, Number(value)), onSuccess: onClose });
  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    if (!starting.isPending) starting.mutate();
  };
  return (
    <Dialog title={queued ? `Priority of ${name}` : `Start ${name}`} onClose={onClose}>
      <form onSubmit={submit}>
        <p id={`${id}-about`}>
          Workers take studies with a higher priority first, and equal ones in the order of submission.
        </p>
        <label htmlFor={id}>Priority</label>
        <input
          id={id}
          type="number"
          min={-MOST}
          max={MOST}
          required
          value={value}
          aria-describedby={`${id}-about`}
          onChange={(event) => setTyped(event.target.value)}
        />
        <Problem error={queue.error ?? starting.error} />
        <p className="actions">
          <Dismiss>Cancel</Dismiss>
          <button type="submit" className="primary" aria-disabled={starting.isPending}>
            {queued ? "Set priority" : "Start"}
          </button>
        </p>
      </form>
    </Dialog>
  );
}
