import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import type { NewWebhook, WebhookStatus } from "~/api/types";
import { webhooksQuery } from "~/api/webhooks";
import { Badge } from "~/components/Badge";
import { Copyable } from "~/components/Copyable";
import { type Column, DataTable } from "~/components/DataTable";
import { Failed, Waiting } from "~/components/states";
import type { Tone } from "~/components/tones";
import { age, moment } from "~/format/time";
import { AddWebhook } from "./AddWebhook";
import { MoreActions } from "./MoreActions";
import { TestWebhook } from "./TestWebhook";
import { eventsText, sourceText, targetText } from "./webhooks";

/** Webhooks with their newest deliveries; to add, test and remove. */
export function Webhooks() {
  const { data, error, dataUpdatedAt } = useQuery(webhooksQuery);
  const [sort, setSort] = useState("");
  const [adding, setAdding] = useState(false);
  const [made, setMade] = useState<NewWebhook | null>(null);
  if (!data && error) return <Failed error={error} />;
  if (!data) return <Waiting what="webhooks" />;
  return (
    <section className="panel" aria-label="Webhooks">
      <header>
        <h2>Webhooks</h2>
        <span className="quiet">Messages about studies and workers to other systems</span>
        <span className="grow" />
        <button type="button" onClick={() => setAdding(true)}>
          Add webhook…
        </button>
      </header>
      {made && <Added made={made} onClose={() => setMade(null)} />}
      <DataTable
        label="All webhooks"
        columns={columnsAt(dataUpdatedAt / 1000)}
        rows={data}
        rowId={(one) => one.webhook.id}
        sort={sort}
        onSort={setSort}
        empty="No webhooks yet."
      />
      {adding && <AddWebhook onClose={() => setAdding(false)} onAdded={setMade} />}
    </section>
  );
}

function Added({ made, onClose }: { made: NewWebhook; onClose: () => void }) {
  const { webhook, secret } = made;
  return (
    <div className="body added" role="status">
      <p>
        <strong>
          {secret
            ? `Copy the signing secret of “${webhook.name}” now: it is shown only once.`
            : `“${webhook.name}” is added. Its signing secret is in the ${sourceText(webhook.secret_source)}.`}
        </strong>
        {secret && " Receivers verify messages with it."}
      </p>
      {secret && <Copyable text={secret} label="signing secret" />}
      <p className="actions">
        <button type="button" onClick={onClose}>
          {secret ? "I have copied it" : "OK"}
        </button>
      </p>
    </div>
  );
}

/** The columns; `now` is in seconds since the epoch. */
function columnsAt(now: number): Column<WebhookStatus>[] {
  return [
    { id: "name", title: "Name", value: (one) => one.webhook.name, cell: (one) => one.webhook.name },
    {
      id: "result",
      title: "Result",
      className: "text",
      value: (one) => one.last?.state ?? null,
      cell: (one) => <Result status={one} />,
    },
    {
      id: "last",
      title: "Last attempt",
      number: true,
      value: (one) => (one.last === null ? null : -one.last.at),
      cell: (one) =>
        one.last === null ? (
          <span className="quiet">never</span>
        ) : (
          <span title={moment(one.last.at)}>{age(now - one.last.at)}</span>
        ),
    },
    {
      id: "target",
      title: "Address",
      className: "mono",
      value: (one) => targetText(one.webhook),
      cell: (one) => (
        <span title={`Signing secret: ${sourceText(one.webhook.secret_source) || "kept by the server"}`}>
          {targetText(one.webhook)}
        </span>
      ),
    },
    { id: "form", title: "Form", value: (one) => one.webhook.form, cell: (one) => one.webhook.form },
    {
      id: "events",
      title: "Events",
      className: "text",
      value: (one) => eventsText(one.webhook.events),
      cell: (one) => <span title={one.webhook.events.join(", ")}>{eventsText(one.webhook.events)}</span>,
    },
    {
      id: "waiting",
      title: "Waiting",
      number: true,
      value: (one) => one.waiting,
      cell: (one) => <span title="Messages that wait for an attempt">{one.waiting}</span>,
    },
    {
      id: "dead",
      title: "Dead",
      number: true,
      value: (one) => one.dead,
      cell: (one) => (
        <span
          className={one.dead > 0 ? "bad" : undefined}
          title="Messages of the last thirty days that could not be delivered"
        >
          {one.dead}
        </span>
      ),
    },
    {
      id: "id",
      title: "Id",
      className: "mono",
      value: (one) => one.webhook.id,
      cell: (one) => one.webhook.id,
    },
    {
      id: "actions",
      title: <span className="hidden">Actions</span>,
      className: "row-actions",
      pinned: true,
      cell: (one) => (
        <span className="study-actions">
          <TestWebhook webhook={one.webhook} />
          <MoreActions status={one} />
        </span>
      ),
    },
  ];
}

const TONES: Readonly<Record<string, Tone>> = { delivered: "good", waiting: "doubtful", dead: "bad" };
const STATES: Readonly<Record<string, string>> = { waiting: "will try again" };

function Result({ status: { last } }: { status: WebhookStatus }) {
  if (last === null) return null;
  const attempts = last.attempts === 1 ? "1 attempt" : `${last.attempts} attempts`;
  return (
    <span title={[`${last.kind}, ${attempts}`, last.error].filter(Boolean).join(": ")}>
      <Badge tone={TONES[last.state] ?? "open"}>{STATES[last.state] ?? last.state}</Badge>{" "}
      {last.error || last.kind}
    </span>
  );
}
