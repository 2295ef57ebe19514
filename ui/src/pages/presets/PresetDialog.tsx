import { useMutation, useQuery } from "@tanstack/react-query";
import { type SyntheticEvent, useId, useState } from "react";
import { presetsQuery, savePreset } from "~/api/presets";
import { Dialog, Dismiss } from "~/components/Dialog";
import { Problem } from "~/components/Problem";
import { unnamed } from "../draft/draft";

interface Props {
  title: string;
  text: string;
  /** The name that is proposed. */
  usual: string;
  onClose: () => void;
  onSaved?: (name: string) => void;
}

/** Asks for the name under which a text becomes a preset. */
export function PresetDialog({ title, text, usual, onClose, onSaved }: Props) {
  const id = useId();
  const [name, setName] = useState(usual);
  const presets = useQuery(presetsQuery);
  const known = presets.data?.some((preset) => preset.name === name.trim());
  const saving = useMutation({
    mutationFn: () => savePreset(name.trim(), unnamed(text)),
    onSuccess: (saved) => {
      onSaved?.(saved.name);
      onClose();
    },
  });
  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    if (!saving.isPending) saving.mutate();
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form onSubmit={submit}>
        <p>New studies can begin with a preset. All users of this server see it.</p>
        <label htmlFor={id}>Name of the preset</label>
        <input
          id={id}
          value={name}
          required
          maxLength={63}
          spellCheck={false}
          autoComplete="off"
          aria-describedby={`${id}-about`}
          onChange={(event) => setName(event.target.value)}
        />
        {/* It keeps its height, so that the buttons stay where they are. */}
        <p id={`${id}-about`} className="preset-note doubtful" role="status">
          {known && "Replaces the preset with this name."}
        </p>
        <Problem error={saving.error} />
        <p className="actions">
          <Dismiss>Cancel</Dismiss>
          <button type="submit" className="primary" aria-disabled={saving.isPending}>
            {known ? "Replace" : "Save"}
          </button>
        </p>
      </form>
    </Dialog>
  );
}
