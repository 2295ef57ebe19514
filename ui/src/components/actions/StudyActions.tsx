import { useMutation } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { startStudy, stopStudy } from "~/api/actions";
import { useMay } from "~/api/useScope";
import { below, Menu } from "~/components/Menu";
import { Problem } from "~/components/Problem";
import { type Action, firstAction, type Subject } from "./allowed";
import { CloneDialog } from "./CloneDialog";
import { DeleteDialog } from "./DeleteDialog";
import { PriorityDialog } from "./PriorityDialog";

const TITLES: Record<Action, string> = {
  start: "Start",
  resume: "Resume",
  stop: "Stop",
  dequeue: "Unqueue",
};
const PENDING: Record<Action, string> = {
  start: "Starting…",
  resume: "Starting…",
  stop: "Stopping…",
  dequeue: "Removing…",
};
const MEANINGS: Record<Action, string> = {
  start: "Put the study into the queue",
  resume: "Put the study into the queue; it continues with its results",
  stop: "End the running trials; finished ones are kept",
  dequeue: "Take the study out of the queue",
};

interface Props {
  subject: Subject;
  /** Called after the study was deleted. */
  onDeleted?: () => void;
}

/** What the session may do with a study: the next step as a button, the rest in a menu. */
export function StudyActions({ subject, onDeleted }: Props) {
  const may = useMay("write");
  const [asked, setAsked] = useState<"priority" | "clone" | "delete" | null>(null);
  const navigate = useNavigate();
  const { first, pending, error, run, dismiss } = useStep(subject);
  if (!may) return null;
  const close = () => setAsked(null);
  return (
    <span className="study-actions">
      {first && (
        <Step
          action={first}
          name={subject.name}
          pending={pending}
          error={error}
          run={run}
          dismiss={dismiss}
        />
      )}
      <Menu label={`More actions for ${subject.name}`}>
        {first && (
          <Entry className="narrow" onClick={() => pending ?? run(first)}>
            {TITLES[first]}
          </Entry>
        )}
        {subject.standing === "done" && (
          <Entry onClick={() => run("resume")} title="Put it into the queue again, for example after an edit">
            Resume
          </Entry>
        )}
        {!subject.running && (
          <Entry onClick={() => setAsked("priority")}>
            {first === "dequeue" ? "Change priority…" : `${TITLES[first ?? "resume"]} with priority…`}
          </Entry>
        )}
        <Entry
          onClick={() => navigate({ to: "/new", search: { edit: subject.name } })}
          off={subject.running ? "Stop it first: it is running" : undefined}
        >
          Edit
        </Entry>
        <Entry onClick={() => setAsked("clone")}>Clone…</Entry>
        <Entry
          onClick={() => navigate({ to: "/doctor", search: { study: subject.name } })}
          title="Check the server's machine and everything that the study needs"
        >
          Doctor
        </Entry>
        <Entry
          onClick={() => setAsked("delete")}
          off={subject.running ? "Stop it first: it is running" : undefined}
        >
          Delete…
        </Entry>
      </Menu>
      {asked === "priority" && (
        <PriorityDialog name={subject.name} queued={first === "dequeue"} onClose={close} />
      )}
      {asked === "clone" && <CloneDialog name={subject.name} onClose={close} />}
      {asked === "delete" && (
        <DeleteDialog
          subject={subject}
          onClose={close}
          onDeleted={() => {
            close();
            onDeleted?.();
          }}
        />
      )}
    </span>
  );
}

/** The next step of a study. A request to stop is pending until the study has ended. */
function useStep(subject: Subject) {
  const first = firstAction(subject);
  const [stopping, setStopping] = useState(false);
  const { mutate, reset, error, isPending, variables } = useMutation({
    mutationFn: async (action: Action) => {
      if (action === "start" || action === "resume") await startStudy(subject.name);
      else setStopping((await stopStudy(subject.name)).stopping && action === "stop");
    },
  });
  useEffect(() => {
    if (!subject.running) setStopping(false);
  }, [subject.running]);
  const pending = isPending ? variables : stopping ? "stop" : null;
  return { first, pending, error, run: mutate, dismiss: reset };
}

interface StepProps {
  action: Action;
  name: string;
  pending: Action | null;
  error: Error | null;
  run: (action: Action) => void;
  dismiss: () => void;
}

function Step({ action, name, pending, error, run, dismiss }: StepProps) {
  const button = useRef<HTMLButtonElement>(null);
  const note = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!error || !button.current || !note.current) return;
    note.current.showPopover();
    below(button.current.parentElement ?? button.current, note.current);
  }, [error]);
  const shown = pending ?? action;
  return (
    <>
      <button
        ref={button}
        type="button"
        className="step"
        title={MEANINGS[shown]}
        aria-disabled={pending !== null}
        onClick={() => pending ?? run(action)}
      >
        {pending ? PENDING[pending] : TITLES[action]}
        <span className="hidden"> {name}</span>
      </button>
      <div
        ref={note}
        popover="auto"
        className="popup"
        onToggle={(event) => event.newState === "closed" && dismiss()}
      >
        <Problem error={error} />
      </div>
    </>
  );
}

interface EntryProps {
  className?: string;
  onClick: () => void;
  title?: string;
  /** Why it is not possible now. */
  off?: string | undefined;
  children: string;
}

function Entry({ className, onClick, title, off, children }: EntryProps) {
  return (
    <button
      type="button"
      className={className}
      title={off ?? title}
      aria-disabled={off !== undefined}
      onClick={(event) => {
        if (off !== undefined) return;
        event.currentTarget.closest<HTMLElement>("[popover]")?.hidePopover();
        onClick();
      }}
    >
      {children}
      {off && <small>{off}</small>}
    </button>
  );
}
