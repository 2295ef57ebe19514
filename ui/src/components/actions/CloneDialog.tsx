import { useMutation } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type SyntheticEvent, useId, useState } from "react";
import { cloneStudy } from "~/api/actions";
import { Dialog, Dismiss } from "~/components/Dialog";
import { Problem } from "~/components/Problem";

export function CloneDialog({ name, onClose }: { name: string; onClose: () => void }) {
  const navigate = useNavigate();
  const id = useId();
  const [copy, setCopy] = useState(`${name}-copy`);
  const cloning = useMutation({
    mutationFn: () => cloneStudy(name, copy.trim()),
    onSuccess: async (made) => {
      onClose();
      // A copy is made to be changed.
      await navigate({ to: "/new", search: { edit: made.name } });
    },
  });
  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    if (!cloning.isPending) cloning.mutate();
  };
  return (
    <Dialog title={`Clone ${name}`} onClose={onClose}>
      <form onSubmit={submit}>
        <p>The copy has the same study file and no results. It opens for changes.</p>
        <label htmlFor={id}>Name of the copy</label>
        <input
          id={id}
          value={copy}
          required
          maxLength={63}
          spellCheck={false}
          autoComplete="off"
          onChange={(event) => setCopy(event.target.value)}
        />
        <Problem error={cloning.error} />
        <p className="actions">
          <Dismiss>Cancel</Dismiss>
          <button type="submit" className="primary" aria-disabled={cloning.isPending}>
            {cloning.isPending ? "Cloning…" : "Clone"}
          </button>
        </p>
      </form>
    </Dialog>
  );
}
