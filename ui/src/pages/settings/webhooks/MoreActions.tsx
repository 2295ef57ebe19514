import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import type { WebhookStatus } from "~/api/types";
import { removeWebhook } from "~/api/webhooks";
import { Dialog, Dismiss } from "~/components/Dialog";
import { Menu } from "~/components/Menu";
import { Problem } from "~/components/Problem";

export function MoreActions({ status }: { status: WebhookStatus }) {
  const [asked, setAsked] = useState(false);
  return (
    <>
      <Menu label={`More actions for ${status.webhook.name}`}>
        <button
          type="button"
          onClick={(event) => {
            event.currentTarget.closest<HTMLElement>("[popover]")?.hidePopover();
            setAsked(true);
          }}
        >
          Remove…
        </button>
      </Menu>
      {asked && <RemoveDialog status={status} onClose={() => setAsked(false)} />}
    </>
  );
}

function RemoveDialog({
  status: { webhook, waiting },
  onClose,
}: {
  status: WebhookStatus;
  onClose: () => void;
}) {
  const removal = useMutation({ mutationFn: () => removeWebhook(webhook.id), onSuccess: onClose });
  const lost =
    waiting === 1 ? "1 message waits for it and is lost." : `${waiting} messages wait for it and are lost.`;
  return (
    <Dialog title={`Remove ${webhook.name}?`} onClose={onClose}>
      <p>
        No more messages are sent to it. {waiting > 0 && lost} This cannot be undone: its address and its
        signing secret are removed, too.
      </p>
      <Problem error={removal.error} />
      <p className="actions">
        <Dismiss>Keep it</Dismiss>
        <button
          type="button"
          className="danger"
          aria-disabled={removal.isPending}
          onClick={() => removal.isPending || removal.mutate()}
        >
          {removal.isPending ? "Removing…" : "Remove"}
        </button>
      </p>
    </Dialog>
  );
}
