import { useQuery } from "@tanstack/react-query";
import { type SyntheticEvent, useId, useState } from "react";
import { deployersQuery } from "~/api/doctor";
import { choiceQuery } from "~/api/queries";
import { useMay } from "~/api/useScope";
import { Problem } from "~/components/Problem";
import { readDraft } from "../draft/draft";
import type { DoctorSearch } from "./search";

const TITLES: Readonly<Record<string, string>> = {
  process: "This server (process)",
  docker: "Docker",
  kubernetes: "Kubernetes",
  ome: "OME",
  external: "A running server (external)",
};
const USUAL_SETTINGS = "start_timeout: 20m";
const PLACEHOLDERS: Readonly<Record<string, string>> = {
  "deploy:external": "url: http://localhost:8000",
  "deploy:docker": "image: vllm/vllm-openai:latest\nstart_timeout: 20m",
  "deploy:kubernetes": "namespace: tuning\nstart_timeout: 20m",
  "deploy:ome": "namespace: tuning\nstart_timeout: 20m",
};
const USUAL = "deploy:process";

interface Props {
  search: DoctorSearch;
  busy: boolean;
  onRun: (wanted: DoctorSearch, settings: Readonly<Record<string, unknown>>) => void;
}

/** What is checked: a target, for administrators with settings, or a study. */
export function Choice({ search, busy, onRun }: Props) {
  const id = useId();
  const admin = useMay("admin");
  const deployers = useQuery(deployersQuery);
  const studies = useQuery({ ...choiceQuery, refetchInterval: false });
  const [chosen, setChosen] = useState<string | null>(null);
  const [text, setText] = useState("");
  const value = chosen ?? wantedBy(search);
  const target = value.startsWith("deploy:");
  const draft = readDraft(text);
  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    if (busy || (target && draft.fault)) return;
    onRun(searchOf(value), target ? draft.data : {});
  };
  return (
    <form className="panel doctor-choice" onSubmit={submit}>
      <div className="body">
        <p className="quiet">
          Checks programs, models, GPUs, ports and access to the target from the server's machine, and starts
          nothing. The machines of other workers are not checked.
        </p>
        <div className="bar">
          <label>
            Check
            <select value={value} onChange={(event) => setChosen(event.target.value)}>
              <optgroup label="Targets">
                {named(search.deploy, deployers.data ?? ["process"]).map((kind) => (
                  <option key={kind} value={`deploy:${kind}`}>
                    {TITLES[kind] ?? kind}
                  </option>
                ))}
              </optgroup>
              <optgroup label="All that a study needs">
                {named(search.study, studies.data?.items.map((study) => study.name) ?? []).map((name) => (
                  <option key={name} value={`study:${name}`}>
                    {name}
                  </option>
                ))}
              </optgroup>
            </select>
          </label>
          <button type="submit" className="primary" aria-disabled={busy}>
            {busy ? "Checking…" : "Run the checks"}
          </button>
        </div>
        <Problem error={deployers.error ?? studies.error} />
        {admin && target && (
          // The address of a running server is nowhere else.
          <details key={value} open={value === "deploy:external"}>
            <summary>Settings of the deployer</summary>
            <label htmlFor={id}>
              As under “deploy” in a study file; they override those of the site file
            </label>
            <textarea
              id={id}
              rows={4}
              value={text}
              placeholder={PLACEHOLDERS[value] ?? USUAL_SETTINGS}
              spellCheck={false}
              aria-invalid={draft.fault !== null}
              aria-describedby={`${id}-fault`}
              onChange={(event) => setText(event.target.value)}
            />
            <p id={`${id}-fault`} className="bad" role="status">
              {draft.fault && `Line ${draft.fault.line}: ${draft.fault.message}`}
            </p>
          </details>
        )}
      </div>
    </form>
  );
}

/** The names, with the one in the address, which may be that of a study that was deleted. */
function named(one: string | undefined, names: readonly string[]): readonly string[] {
  return one === undefined || names.includes(one) ? names : [...names, one];
}

function wantedBy(search: DoctorSearch): string {
  if (search.study !== undefined) return `study:${search.study}`;
  return search.deploy === undefined ? USUAL : `deploy:${search.deploy}`;
}

function searchOf(value: string): DoctorSearch {
  const name = value.slice(value.indexOf(":") + 1);
  return value.startsWith("study:") ? { study: name } : { deploy: name };
}
