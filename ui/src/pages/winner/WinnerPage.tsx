import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { ApiError } from "~/api/client";
import { studyQuery, studyUrl, winnerQuery } from "~/api/queries";
import { Simulated } from "~/components/Simulated";
import { Empty, Failed, Waiting } from "~/components/states";
import { FORMS, FormSwitch, FormText } from "./forms";

const FILES = [
  { address: "report?form=html", file: "html", title: "Report as one HTML file" },
  { address: "report?form=md", file: "md", title: "Report as Markdown" },
  { address: "export?form=json", file: "json", title: "All results as JSON" },
  { address: "export?form=csv", file: "csv", title: "Measurements as CSV" },
  { address: "export?form=older", file: "older.json", title: "Results in the older tool's JSON" },
];

/** The winner in every form that another system starts, and all results as files. */
export function WinnerPage() {
  const { name } = useParams({ from: "/signed-in/studies/$name/winner" });
  const { data, error } = useQuery(studyQuery(name));
  useEffect(() => {
    document.title = `Winner of ${name} · Autotuner`;
  }, [name]);
  if (!data && error) return <Failed error={error} />;
  if (!data) return <Waiting what="the study" />;
  return (
    <>
      <nav className="crumbs" aria-label="Breadcrumb">
        <Link to="/studies">Studies</Link> <span aria-hidden="true">/</span>{" "}
        <Link to="/studies/$name" params={{ name }}>
          {name}
        </Link>
      </nav>
      <Simulated sentence={data.simulated} />
      <h1>{data.proven ? "Winner" : "Best so far"}</h1>
      <section className="answer" aria-label="Answer">
        <p className="sentence">{data.headline.charAt(0).toUpperCase() + data.headline.slice(1)}</p>
      </section>
      {data.winner === null ? (
        <Empty title="There is nothing to use yet">
          <p className="quiet">No trial meets the SLOs so far.</p>
        </Empty>
      ) : (
        <Forms name={name} />
      )}
      <section className="panel" aria-label="Exports">
        <header>
          <h2>All results</h2>
        </header>
        <p className="body actions">
          {FILES.map((one) => (
            <a
              key={one.address}
              className="button"
              href={`${studyUrl(name)}/${one.address}`}
              download={`${name}.${one.file}`}
            >
              {one.title}
            </a>
          ))}
        </p>
      </section>
    </>
  );
}

function Forms({ name }: { name: string }) {
  const [chosen, setChosen] = useState(0);
  const [options, setOptions] = useState<Readonly<Record<string, string>>>({});
  const form = FORMS[chosen] ?? FORMS[0];
  const given = Object.fromEntries((form?.options ?? []).map((one) => [one.name, options[one.name] ?? ""]));
  const { data, error, isPlaceholderData } = useQuery(winnerQuery(name, form?.form ?? "command", given));
  if (!form) return null;
  return (
    <section className="panel" aria-label="Use it">
      <header>
        <h2>Use it as</h2>
        <FormSwitch forms={FORMS} chosen={chosen} onChoose={setChosen} />
      </header>
      <div className="body winner">
        {form.options.length > 0 && (
          <div className="bar">
            {form.options.map((one) => (
              <label key={one.name}>
                {one.label}
                <input
                  value={options[one.name] ?? ""}
                  placeholder={one.example}
                  onChange={(event) => setOptions({ ...options, [one.name]: event.target.value })}
                />
              </label>
            ))}
          </div>
        )}
        {error ? (
          <p className="bad" role="alert">
            {error.message}
            {error instanceof ApiError && error.hint && ` (${error.hint})`}
          </p>
        ) : data === undefined ? (
          <Waiting what="the winner" />
        ) : (
          <div aria-busy={isPlaceholderData}>
            <FormText name={name} form={form} text={data} />
          </div>
        )}
      </div>
    </section>
  );
}
