import { useMutation } from "@tanstack/react-query";
import { deleteStudy } from "~/api/actions";
import { Dialog, Dismiss } from "~/components/Dialog";
import { Problem } from "~/components/Problem";
import { loss, type Subject } from "./allowed";

interface Props {
  subject: Subject;
  onClose: () => void;
  onDeleted: () => void;
}

export function DeleteDialog({ subject, onClose, onDeleted }: Props) {
  const removal = useMutation({ mutationFn: () => deleteStudy(subject.name), onSuccess: onDeleted });
  return (
    <Dialog title={`Delete ${subject.name}?`} onClose={onClose}>
      <p>{loss(subject)} This cannot be undone.</p>
      <Problem error={removal.error} />
      <p className="actions">
        <Dismiss>Keep it</Dismiss>
        <button
          type="button"
          className="danger"
          aria-disabled={removal.isPending}
          onClick={() => removal.isPending || removal.mutate()}
        >
          {removal.isPending ? "Deleting…" : "Delete"}
        </button>
      </p>
    </Dialog>
  );
}
