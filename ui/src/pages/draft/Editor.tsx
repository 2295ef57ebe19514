import { useMutation, useQuery } from "@tanstack/react-query";
import { useBlocker, useNavigate } from "@tanstack/react-router";
import { type ReactNode, useMemo, useRef, useState } from "react";
import { ApiError } from "~/api/client";
import { type Checked, catalogQuery, checkQuery, saveStudy, schemaQuery, validate } from "~/api/drafting";
import { Problem } from "~/components/Problem";
import { Failed, Waiting } from "~/components/states";
import { PresetDialog } from "../presets/PresetDialog";
import { DraftingContext } from "./context";
import { changed, isOlder, type Path, readDraft, renamed, valueAt } from "./draft";
import { Form } from "./Form";
import { PlanPanel } from "./PlanPanel";
import { type PlacedProblem, placed } from "./problems";
import type { Schema } from "./schema";
import { useSettled } from "./useSettled";
import { YamlEditor } from "./YamlEditor";

const TYPING_MS = 450;
const NO_PROBLEMS: readonly PlacedProblem[] = [];

interface Props {
  /** The text to begin with. */
  initial: string;
  /** Name of the stored study that is changed. */
  edited?: string | undefined;
  /** Name of the preset that it begins with. */
  preset?: string | undefined;
}

/** A study as form and text, with its plan beside it. */
export function Editor({ initial, edited, preset }: Props) {
  const [text, setText] = useState(initial);
  // What can be left without a loss.
  const [kept, setKept] = useState(initial);
  const [view, setView] = useState<"form" | "yaml">(initial.trim() === "" ? "yaml" : "form");
  const [preflight, setPreflight] = useState(false);
  const draft = useMemo(() => readDraft(text), [text]);
  const schema = useQuery(schemaQuery);
  const check = useChecked(text, preflight);
  const saving = useSaving(text, kept, edited);
  const problems = saving.problems ?? check.problems;
  const kinds = useMemo(() => kindsOf(draft.data), [draft]);
  const catalog = useQuery(
    catalogQuery(kinds.engine === "simulated" ? flavorOf(draft.data) : (kinds.engine ?? "")),
  );
  if (schema.error) return <Failed error={schema.error} />;
  if (!schema.data) return <Waiting what="the form" />;
  const older = isOlder(draft.data);
  const usable = draft.fault === null && !older;
  const drafting = {
    draft,
    schema: schema.data as Schema,
    kinds,
    catalog: catalog.data ?? [],
    problems,
    change: (path: Path, value: unknown) => setText((before) => changed(before, path, value)),
    rename: (path: Path, name: string) => setText((before) => renamed(before, path, name)),
    named: edited !== undefined,
  };
  return (
    <>
      <div className="draft-bar">
        <fieldset className="switch">
          <legend className="hidden">View</legend>
          <Tab name="form" view={view} onView={setView} title="Form" />
          <Tab name="yaml" view={view} onView={setView} title="YAML" />
        </fieldset>
        <ImportButton onEdit={setText} />
        <span className="grow" />
        <SavePreset
          text={text}
          usual={preset ?? nameOf(draft.data)}
          onSaved={() => edited === undefined && setKept(text)}
        />
        <button type="button" aria-disabled={saving.pending} onClick={() => saving.save(false)}>
          {saving.pending ? "Saving…" : "Save"}
        </button>
        <button
          type="button"
          className="primary"
          aria-disabled={saving.pending}
          onClick={() => saving.save(true)}
        >
          Save and start
        </button>
      </div>
      <Problem error={saving.error} />
      {older && <Older text={text} onEdit={setText} />}
      <div className={`draft shows-${view}`}>
        <div className="draft-form">
          {usable ? (
            <DraftingContext value={drafting}>
              <Form />
            </DraftingContext>
          ) : (
            !older && (
              <p className="panel body">
                The form needs YAML that can be read. Line {draft.fault?.line}: {draft.fault?.message}
              </p>
            )
          )}
        </div>
        <div className="draft-yaml">
          <YamlEditor draft={draft} problems={problems} onEdit={setText} />
        </div>
        <div className="draft-plan">
          <PlanPanel
            {...check}
            problems={problems}
            preflight={preflight}
            onPreflight={() => setPreflight(true)}
          />
        </div>
      </div>
    </>
  );
}

interface SavePresetProps {
  text: string;
  /** The name that is proposed. */
  usual: string;
  onSaved: () => void;
}

function SavePreset({ text, usual, onSaved }: SavePresetProps) {
  const [asked, setAsked] = useState(false);
  const [saved, setSaved] = useState<{ name: string; text: string } | null>(null);
  return (
    <>
      <span className="quiet" role="status">
        {saved?.text === text && `Saved as preset ${saved.name}`}
      </span>
      <button type="button" onClick={() => setAsked(true)}>
        Save as preset…
      </button>
      {asked && (
        <PresetDialog
          title="Save as preset"
          text={text}
          usual={usual}
          onClose={() => setAsked(false)}
          onSaved={(name) => {
            setSaved({ name, text });
            onSaved();
          }}
        />
      )}
    </>
  );
}

function nameOf(data: Readonly<Record<string, unknown>>): string {
  return typeof data.name === "string" ? data.name : "";
}

interface TabProps {
  name: "form" | "yaml";
  title: string;
  view: string;
  onView: (view: "form" | "yaml") => void;
}

function Tab({ name, title, view, onView }: TabProps) {
  return (
    <label>
      <input type="radio" name="draft-view" checked={view === name} onChange={() => onView(name)} />
      <span>{title}</span>
    </label>
  );
}

/** What the server says about the text, once it is not changing. */
function useChecked(text: string, preflight: boolean) {
  const settled = useSettled(text, TYPING_MS);
  const { data, error, isFetching } = useQuery(checkQuery(settled, preflight));
  const last = useRef<Checked | null>(null);
  if (data) last.current = data;
  const wrong = error instanceof ApiError && error.problems.length > 0;
  const problems = useMemo(
    () => (wrong && error instanceof ApiError ? placed(error.problems) : NO_PROBLEMS),
    [error, wrong],
  );
  return {
    checked: data ?? last.current,
    stale: data === undefined,
    problems,
    error: wrong ? null : error,
    checking: isFetching || settled !== text,
  };
}

/** Saving, and the problems that it met; they are gone with the next change. */
function useSaving(text: string, kept: string, edited: string | undefined) {
  const navigate = useNavigate();
  const saved = useRef(false);
  const [refused, setRefused] = useState<{ text: string; error: unknown } | null>(null);
  const { mutate, isPending } = useMutation({
    mutationFn: (start: boolean) => saveStudy(text, edited, start),
    onError: (error) => setRefused({ text, error }),
    onSuccess: async (study) => {
      saved.current = true;
      await navigate({ to: "/studies/$name", params: { name: study.name } });
    },
  });
  useBlocker({
    shouldBlockFn: () => !saved.current && !window.confirm("Leave this page? What you changed is not saved."),
    enableBeforeUnload: () => !saved.current,
    disabled: text === kept,
  });
  const error = refused?.text === text ? refused.error : null;
  const wrong = error instanceof ApiError && error.problems.length > 0;
  return {
    save: (start: boolean) => isPending || mutate(start),
    pending: isPending,
    error,
    problems: wrong && error instanceof ApiError ? placed(error.problems) : null,
  };
}

function Older({ text, onEdit }: { text: string; onEdit: (text: string) => void }): ReactNode {
  const conversion = useMutation({
    mutationFn: () => validate(text),
    onSuccess: (study) => onEdit(study.file),
  });
  return (
    <div className="simulated older" role="note">
      <span className="grow">
        This is a task of the older tool. It can be saved as it is; the form needs a study.
      </span>
      <button type="button" aria-disabled={conversion.isPending} onClick={() => conversion.mutate()}>
        Convert to a study
      </button>
      <Problem error={conversion.error} />
    </div>
  );
}

function ImportButton({ onEdit }: { onEdit: (text: string) => void }) {
  return (
    <label className="button file">
      Import a file…
      <input
        type="file"
        accept=".yaml,.yml,.json"
        onChange={async (event) => {
          const input = event.currentTarget;
          const file = input.files?.[0];
          if (file) onEdit(await file.text());
          // The same file may be chosen again after it was edited.
          input.value = "";
        }}
      />
    </label>
  );
}

function kindsOf(data: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> {
  const kind = (section: string, key: string, usual: string) => {
    const given = valueAt(data, [section, key]);
    return typeof given === "string" ? given : usual;
  };
  return {
    engine: kind("engine", "kind", ""),
    deploy: kind("deploy", "kind", "process"),
    benchmark: kind("benchmark", "kind", "native"),
    search: kind("search", "strategy", "auto"),
  };
}

/** The engine whose flags the simulated one takes. */
function flavorOf(data: Readonly<Record<string, unknown>>): string {
  const flavor = valueAt(data, ["engine", "flavor"]);
  return typeof flavor === "string" ? flavor : "simulated";
}
