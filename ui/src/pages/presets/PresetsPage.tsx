import "~/styles/draft.css";
import { useMutation, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { presetsQuery, presetUrl, removePreset } from "~/api/presets";
import type { Preset } from "~/api/types";
import { useMay } from "~/api/useScope";
import { type Column, DataTable } from "~/components/DataTable";
import { Dialog, Dismiss } from "~/components/Dialog";
import { Problem } from "~/components/Problem";
import { Failed, Waiting } from "~/components/states";
import { age, moment } from "~/format/time";
import { nameFor } from "./names";
import { PresetDialog } from "./PresetDialog";

/** Presets: to begin a study with, to import, export and delete. */
export function PresetsPage() {
  const { data, error, dataUpdatedAt } = useQuery(presetsQuery);
  const writes = useMay("write");
  const [sort, setSort] = useState("");
  useEffect(() => {
    document.title = "Presets · Autotuner";
  }, []);
  if (!data && error) return <Failed error={error} />;
  if (!data) return <Waiting what="presets" />;
  return (
    <>
      <h1>Presets</h1>
      <div className="fleet">
        <section className="panel" aria-label="Presets">
          <header>
            <span className="quiet">Study files, perhaps incomplete, that new studies begin with</span>
            <span className="grow" />
            {writes && <Import />}
          </header>
          <DataTable
            label="All presets"
            columns={columnsAt(dataUpdatedAt / 1000, writes)}
            rows={data}
            rowId={(preset) => preset.name}
            sort={sort}
            onSort={setSort}
            empty={
              <>
                No presets yet. To add one, save a study from its form: <Link to="/new">New study</Link>
              </>
            }
          />
        </section>
      </div>
    </>
  );
}

/** The columns; `now` is in seconds since the epoch, and `writes` whether the session may change presets. */
function columnsAt(now: number, writes: boolean): Column<Preset>[] {
  return [
    {
      id: "name",
      title: "Name",
      value: (preset) => preset.name,
      cell: ({ name }) =>
        writes ? (
          <Link
            className="name"
            to="/new"
            search={{ preset: name }}
            title="Begin a study with it, or change it"
          >
            {name}
          </Link>
        ) : (
          name
        ),
    },
    { id: "engine", title: "Engine", value: (preset) => preset.engine, cell: (preset) => preset.engine },
    {
      id: "model",
      title: "Model",
      className: "text mono",
      value: (preset) => preset.model,
      cell: (preset) => <span title={preset.model}>{preset.model}</span>,
    },
    {
      id: "saved",
      title: "Saved",
      number: true,
      value: (preset) => -preset.updated_at,
      cell: (preset) => <span title={moment(preset.updated_at)}>{age(now - preset.updated_at)}</span>,
    },
    { id: "by", title: "By", value: (preset) => preset.updated_by, cell: (preset) => preset.updated_by },
    {
      id: "actions",
      title: <span className="hidden">Actions</span>,
      className: "row-actions",
      pinned: true,
      cell: (preset) => (
        <span className="study-actions">
          <a className="button" href={presetUrl(preset.name)} download={`${preset.name}.yaml`}>
            Export<span className="hidden"> {preset.name}</span>
          </a>
          {writes && <Delete name={preset.name} />}
        </span>
      ),
    },
  ];
}

/** Saves a file as a preset, once its name is confirmed. */
function Import() {
  const [file, setFile] = useState<{ name: string; text: string } | null>(null);
  return (
    <>
      <label className="button file">
        Import a file…
        <input
          type="file"
          accept=".yaml,.yml,.json"
          onChange={async (event) => {
            const input = event.currentTarget;
            const chosen = input.files?.[0];
            if (chosen) setFile({ name: nameFor(chosen.name), text: await chosen.text() });
            // The same file may be chosen again after it was edited.
            input.value = "";
          }}
        />
      </label>
      {file && (
        <PresetDialog
          title="Import a preset"
          text={file.text}
          usual={file.name}
          onClose={() => setFile(null)}
        />
      )}
    </>
  );
}

function Delete({ name }: { name: string }) {
  const [asked, setAsked] = useState(false);
  const removal = useMutation({ mutationFn: () => removePreset(name), onSuccess: () => setAsked(false) });
  return (
    <>
      <button type="button" onClick={() => setAsked(true)}>
        Delete<span className="hidden"> {name}</span>
      </button>
      {asked && (
        <Dialog title={`Delete the preset ${name}?`} onClose={() => setAsked(false)}>
          <p>Studies that began with it stay as they are. This cannot be undone.</p>
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
      )}
    </>
  );
}
