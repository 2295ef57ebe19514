import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { revokeToken } from "~/api/access";
import type { Token } from "~/api/types";
import { Dialog, Dismiss } from "~/components/Dialog";
import { Problem } from "~/components/Problem";

export function RevokeButton({ token }: { token: Token }) {
  const [asked, setAsked] = useState(false);
  const revocation = useMutation({
    mutationFn: () => revokeToken(token.id),
    onSuccess: () => setAsked(false),
  });
  return (
    <>
      <button type="button" onClick={() => setAsked(true)}>
        Revoke
        <span className="hidden">
          {" "}
          {token.name} {token.id}
        </span>
      </button>
      {asked && (
        <Dialog title={`Revoke ${token.name}?`} onClose={() => setAsked(false)}>
          <p>
            {token.id.includes(".")
              ? "The browser with this session is signed out at once."
              : "Programs that use this token are refused at once, and browsers that signed in with it are signed out."}{" "}
            This cannot be undone.
          </p>
          <Problem error={revocation.error} />
          <p className="actions">
            <Dismiss>Keep it</Dismiss>
            <button
              type="button"
              className="danger"
              aria-disabled={revocation.isPending}
              onClick={() => revocation.isPending || revocation.mutate()}
            >
              {revocation.isPending ? "Revoking…" : "Revoke"}
            </button>
          </p>
        </Dialog>
      )}
    </>
  );
}
