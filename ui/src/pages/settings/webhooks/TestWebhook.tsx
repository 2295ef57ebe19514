import { useMutation } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import type { Webhook } from "~/api/types";
import { testWebhook } from "~/api/webhooks";
import { below } from "~/components/Menu";
import { Problem } from "~/components/Problem";

/** Sends a test message, and says below the button what came of it. */
export function TestWebhook({ webhook }: { webhook: Webhook }) {
  const button = useRef<HTMLButtonElement>(null);
  const note = useRef<HTMLDivElement>(null);
  const { data, error, isPending, mutate, reset } = useMutation({
    mutationFn: () => testWebhook(webhook.id),
  });
  useEffect(() => {
    if ((!data && !error) || !button.current || !note.current) return;
    if (!note.current.matches(":popover-open")) note.current.showPopover();
    below(button.current, note.current);
  }, [data, error]);
  return (
    <>
      <button
        ref={button}
        type="button"
        className="test"
        title="Send a message of the type webhook.test from the server"
        aria-disabled={isPending}
        onClick={() => isPending || mutate()}
      >
        {isPending ? "Sending…" : "Test"}
        <span className="hidden"> {webhook.name}</span>
      </button>
      <div
        ref={note}
        popover="auto"
        className="popup"
        role="status"
        // A click on the button closes it, too, and sends the next message.
        onToggle={(event) => event.newState === "closed" && !isPending && reset()}
      >
        {isPending && <p className="quiet">Sending…</p>}
        <Problem error={error} />
        {data && (
          <p className={data.delivered ? "good" : "bad"}>
            {data.delivered ? `Delivered in ${data.seconds} s` : `Not delivered: ${data.error}`}
          </p>
        )}
      </div>
    </>
  );
}
