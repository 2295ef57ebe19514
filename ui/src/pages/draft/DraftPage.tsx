import "~/styles/draft.css";
import { useQuery } from "@tanstack/react-query";
import { Link, useSearch } from "@tanstack/react-router";
import { useEffect } from "react";
import { fileQuery, schemaQuery, starterQuery } from "~/api/drafting";
import { presetQuery } from "~/api/presets";
import { useMay } from "~/api/useScope";
import { Empty, Failed, Waiting } from "~/components/states";
import { Chooser } from "./Chooser";
import { named } from "./draft";
import { Editor } from "./Editor";

/** A new study, or changes of a stored one. */
export function DraftPage() {
  const { edit, engine, goal, preset, from } = useSearch({ from: "/signed-in/new" });
  const may = useMay("write");
  // The form needs it later; reading it now saves the wait.
  useQuery({ ...schemaQuery, enabled: may });
  const title = edit === undefined ? "New study" : `Edit ${edit}`;
  useEffect(() => {
    document.title = `${title} · Autotuner`;
  }, [title]);
  return (
    <>
      <nav className="crumbs" aria-label="Breadcrumb">
        <Link to="/studies">Studies</Link>
        {edit !== undefined && (
          <>
            {" "}
            <span aria-hidden="true">/</span>{" "}
            <Link to="/studies/$name" params={{ name: edit }}>
              {edit}
            </Link>
          </>
        )}
      </nav>
      <h1>{title}</h1>
      {!may ? (
        <Empty title="This session may only read">
          <p className="quiet">
            Sign in with a token that may write: <code>autotuner token create NAME --scope write</code>
          </p>
        </Empty>
      ) : edit !== undefined ? (
        <Stored key={edit} name={edit} />
      ) : engine !== undefined ? (
        <Template key={`${engine} ${goal}`} engine={engine} goal={goal ?? "throughput"} />
      ) : preset !== undefined ? (
        <FromPreset key={preset} name={preset} />
      ) : from !== undefined ? (
        <Editor initial="" />
      ) : (
        <Chooser />
      )}
    </>
  );
}

function Stored({ name }: { name: string }) {
  const { data, error } = useQuery(fileQuery(name));
  if (error) return <Failed error={error} />;
  if (data === undefined) return <Waiting what="the study" />;
  return <Editor initial={data} edited={name} />;
}

function FromPreset({ name }: { name: string }) {
  const { data, error } = useQuery(presetQuery(name));
  if (error) return <Failed error={error} />;
  if (data === undefined) return <Waiting what="the preset" />;
  return <Editor initial={named(data, name)} preset={name} />;
}

function Template({ engine, goal }: { engine: string; goal: string }) {
  const { data, error } = useQuery(starterQuery(engine, goal));
  if (error) return <Failed error={error} />;
  if (data === undefined) return <Waiting what="the template" />;
  return <Editor initial={data} />;
}
