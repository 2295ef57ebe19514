import { useMutation } from "@tanstack/react-query";
import { type ReactNode, type SyntheticEvent, useId, useState } from "react";
import { ApiError } from "~/api/client";
import type { NewWebhook, WebhookForm } from "~/api/types";
import { addWebhook } from "~/api/webhooks";
import { Dialog, Dismiss } from "~/components/Dialog";
import { Problem } from "~/components/Problem";
import {
  ALL_EVENTS,
  BLANK,
  EVENTS,
  FORMS,
  type Place,
  placeOf,
  requestOf,
  type Source,
  type Wanted,
} from "./webhooks";

interface Props {
  onClose: () => void;
  onAdded: (made: NewWebhook) => void;
}

export function AddWebhook({ onClose, onAdded }: Props) {
  const [wanted, setWanted] = useState(BLANK);
  const { mutate, error, isPending } = useMutation({
    mutationFn: () => addWebhook(requestOf(wanted)),
    onSuccess: (made) => {
      onAdded(made);
      onClose();
    },
  });
  const change = (changes: Partial<Wanted>) => setWanted((before) => ({ ...before, ...changes }));
  const none = wanted.events.length === 0;
  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    if (!isPending && !none) mutate();
  };
  return (
    <Dialog title="Add a webhook" onClose={onClose}>
      <form className="new-webhook" onSubmit={submit}>
        <Field label="Name" place="name" error={error}>
          {(props) => (
            <input
              {...props}
              value={wanted.name}
              required
              maxLength={63}
              placeholder="what it is for"
              autoComplete="off"
              onChange={(event) => change({ name: event.target.value })}
            />
          )}
        </Field>
        <Address wanted={wanted} change={change} error={error} />
        <Field label="Messages" place={null} error={error}>
          {(props) => (
            <select
              {...props}
              value={wanted.form}
              onChange={(event) => change({ form: event.target.value as WebhookForm })}
            >
              {Object.entries(FORMS).map(([form, meaning]) => (
                <option key={form} value={form}>
                  {meaning}
                </option>
              ))}
            </select>
          )}
        </Field>
        <Events wanted={wanted} change={change} error={error} />
        <Secret wanted={wanted} change={change} error={error} />
        {!hasPlace(error) && <Problem error={error} />}
        <p className="actions">
          <Dismiss>Cancel</Dismiss>
          <button type="submit" className="primary" aria-disabled={isPending || none}>
            {isPending ? "Adding…" : "Add webhook"}
          </button>
        </p>
      </form>
    </Dialog>
  );
}

interface PartProps {
  wanted: Wanted;
  change: (changes: Partial<Wanted>) => void;
  error: unknown;
}

const PLACEHOLDERS: Readonly<Record<Source, string>> = {
  given: "https://ops.example.com/hooks/autotuner",
  env: "OPS_HOOK",
  file: "/etc/autotuner/ops.url",
};

function Address({ wanted, change, error }: PartProps) {
  const source = wanted.urlSource;
  return (
    <Field
      label="Address"
      place="url"
      error={error}
      help={
        source === "given"
          ? "Kept in the data directory of this server. For servers on several machines, name a variable or a file."
          : "All servers must have it."
      }
    >
      {(props) => (
        <span className="sourced">
          <SourceChoice
            label="Where the address comes from"
            first="URL"
            value={source}
            onChange={(urlSource) => change({ urlSource, url: "" })}
          />
          <input
            {...props}
            className="mono"
            value={wanted.url}
            required
            placeholder={PLACEHOLDERS[source]}
            spellCheck={false}
            autoComplete="off"
            onChange={(event) => change({ url: event.target.value })}
          />
        </span>
      )}
    </Field>
  );
}

function Secret({ wanted, change, error }: PartProps) {
  const source = wanted.secretSource;
  return (
    <Field
      label="Signing secret"
      place="secret"
      error={error}
      help={source === "given" ? "The server makes one, and shows it once." : "All servers must have it."}
    >
      {(props) => (
        <span className="sourced">
          <SourceChoice
            label="Where the signing secret comes from"
            first="New"
            value={source}
            onChange={(secretSource) => change({ secretSource, secret: "" })}
          />
          {source === "given" ? (
            <input {...props} disabled value="" placeholder="whsec_…" />
          ) : (
            <input
              {...props}
              className="mono"
              value={wanted.secret}
              required
              placeholder={source === "env" ? "OPS_SECRET" : "/etc/autotuner/ops.secret"}
              spellCheck={false}
              autoComplete="off"
              onChange={(event) => change({ secret: event.target.value })}
            />
          )}
        </span>
      )}
    </Field>
  );
}

interface SourceProps {
  label: string;
  /** What the first source is called. */
  first: string;
  value: Source;
  onChange: (source: Source) => void;
}

function SourceChoice({ label, first, value, onChange }: SourceProps) {
  return (
    <select aria-label={label} value={value} onChange={(event) => onChange(event.target.value as Source)}>
      <option value="given">{first}</option>
      <option value="env">Variable</option>
      <option value="file">File</option>
    </select>
  );
}

function Events({ wanted, change, error }: PartProps) {
  const id = useId();
  const chosen = new Set(wanted.events);
  const toggle = (event: (typeof ALL_EVENTS)[number]) =>
    change({ events: ALL_EVENTS.filter((one) => chosen.has(one) !== (one === event)) });
  return (
    <fieldset className="choices" aria-describedby={id}>
      <legend>Events</legend>
      {ALL_EVENTS.map((event) => (
        <label key={event}>
          <input type="checkbox" checked={chosen.has(event)} onChange={() => toggle(event)} />
          <span>
            <code>{event}</code> <span className="quiet">{EVENTS[event]}</span>
          </span>
        </label>
      ))}
      <div id={id} className="about" role="status">
        {chosen.size === 0 && <p className="bad">Choose at least one event</p>}
        <Faults place="events" error={error} />
      </div>
    </fieldset>
  );
}

interface FieldProps {
  label: string;
  place: Place | null;
  error: unknown;
  help?: string;
  children: (props: { id: string; "aria-describedby": string; "aria-invalid": boolean }) => ReactNode;
}

/** One value with its label, its faults and what it means. */
function Field({ label, place, error, help, children }: FieldProps) {
  const id = useId();
  const invalid = faultsAt(place, error).length > 0;
  return (
    <div className="labeled">
      <label htmlFor={id}>{label}</label>
      {children({ id, "aria-describedby": `${id}-about`, "aria-invalid": invalid })}
      <div id={`${id}-about`} className="about">
        <Faults place={place} error={error} />
        {help && <p className="quiet">{help}</p>}
      </div>
    </div>
  );
}

function Faults({ place, error }: { place: Place | null; error: unknown }) {
  return faultsAt(place, error).map((fault) => (
    <p key={fault.why} className="bad" role="alert">
      {fault.value ? `${fault.value} ` : ""}
      {fault.why}
      {fault.remedy ? `; ${fault.remedy}` : ""}
    </p>
  ));
}

function faultsAt(place: Place | null, error: unknown) {
  if (place === null || !(error instanceof ApiError)) return [];
  return error.problems.filter((problem) => placeOf(problem) === place);
}

/** Whether all that the server found wrong is shown at fields. */
function hasPlace(error: unknown): boolean {
  if (!(error instanceof ApiError) || error.problems.length === 0) return false;
  return error.problems.every((problem) => placeOf(problem) !== null);
}
