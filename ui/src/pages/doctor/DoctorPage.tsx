import "~/styles/doctor.css";
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useMemo, useState } from "react";
import { ApiError } from "~/api/client";
import { diagnosisQuery, type Subject } from "~/api/doctor";
import { useMay } from "~/api/useScope";
import { Problem } from "~/components/Problem";
import { Empty } from "~/components/states";
import { Checks } from "./Checks";
import { Choice } from "./Choice";
import { type DoctorSearch, doctorSearch } from "./search";

/** Checks of the server's machine, of a deployment target, or of all that a study needs. */
export function DoctorPage() {
  const may = useMay("write");
  const given = useSearch({ from: "/signed-in/doctor" });
  const search = useMemo(() => doctorSearch({ ...given }), [given]);
  useEffect(() => {
    document.title = "Doctor · Autotuner";
  }, []);
  return (
    <>
      <h1>Doctor</h1>
      {may ? (
        <Doctor search={search} />
      ) : (
        <Empty title="This session may only read">
          <p className="quiet">
            Checks reach other systems. Sign in with a token that may write:{" "}
            <code>autotuner token create NAME --scope write</code>
          </p>
        </Empty>
      )}
    </>
  );
}

const NOTHING: Subject = { deploy: "", settings: {} };

function Doctor({ search }: { search: DoctorSearch }) {
  const navigate = useNavigate();
  // Settings may hold secrets, so they are not part of the address.
  const [settings, setSettings] = useState<Readonly<Record<string, unknown>>>({});
  const asked = subjectOf(search, settings);
  const found = useQuery({ ...diagnosisQuery(asked ?? NOTHING), enabled: asked !== null });
  const run = async (wanted: DoctorSearch, given: Readonly<Record<string, unknown>>) => {
    if (found.isFetching) return;
    const next = subjectOf(wanted, given);
    if (JSON.stringify(next) === JSON.stringify(asked)) {
      await found.refetch();
      return;
    }
    setSettings(given);
    await navigate({ to: "/doctor", search: { ...wanted }, replace: true });
  };
  return (
    <div className="fleet">
      <Choice search={search} busy={found.isFetching} onRun={run} />
      {found.error && !found.isFetching ? (
        <section className="panel" aria-label="Problems">
          <div className="body">
            <Refusal error={found.error} />
          </div>
        </section>
      ) : (
        asked && <Checks found={found.data} busy={found.isFetching} at={found.dataUpdatedAt / 1000} />
      )}
    </div>
  );
}

/** Why nothing was checked: each wrong setting with its place, or another error. */
function Refusal({ error }: { error: Error }) {
  const problems = error instanceof ApiError ? error.problems : [];
  if (problems.length === 0) return <Problem error={error} />;
  return (
    <ul className="refusal" role="alert">
      {problems.map((problem) => (
        <li key={`${problem.where} ${problem.why}`}>
          <code>{problem.where}</code>
          <p className="bad">{[problem.value, problem.why].filter(Boolean).join(": ")}</p>
          {problem.remedy && <p className="quiet">{problem.remedy}</p>}
        </li>
      ))}
    </ul>
  );
}

function subjectOf(search: DoctorSearch, settings: Readonly<Record<string, unknown>>): Subject | null {
  if (search.study !== undefined) return { study: search.study };
  return search.deploy === undefined ? null : { deploy: search.deploy, settings };
}
