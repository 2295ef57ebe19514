import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { trialQuery, winnerQuery } from "~/api/queries";
import type { StudyDetails } from "~/api/types";
import { Copyable } from "~/components/Copyable";
import { Changes } from "~/pages/trial/Changes";
import { FORMS, FormSwitch, FormText } from "~/pages/winner/forms";
import { useReport } from "./context";
import { hasManifest } from "./data";

/** How to start the winner, and what it changes. */
export function UsePanel({ details, winner }: { details: StudyDetails; winner: number }) {
  const { name } = details;
  const command = useQuery(winnerQuery(name, "command", {})).data?.trim();
  const trial = useQuery(trialQuery(name, winner)).data;
  return (
    <>
      {command && (
        <section className="panel" aria-label="Command">
          <header>
            <h2>{winner === details.default ? `Start the ${details.reference}` : "Start it"}</h2>
          </header>
          <div className="body">
            <Copyable text={command} label="command" />
          </div>
        </section>
      )}
      <Manifests name={name} />
      {trial && winner !== details.default && <Changes details={trial} />}
    </>
  );
}

/** The winner as files for other systems, those that need nothing but the study. */
function Manifests({ name }: { name: string }) {
  const report = useReport();
  const forms = FORMS.filter((one) => hasManifest(report, one.form));
  const [chosen, setChosen] = useState(0);
  const form = forms[chosen];
  const text = useQuery({
    ...winnerQuery(name, form?.form ?? "command", {}),
    enabled: form !== undefined,
  }).data;
  if (!form || text === undefined) return null;
  return (
    <section className="panel" aria-label="Manifests">
      <header>
        <h2>Deploy it as</h2>
        <FormSwitch forms={forms} chosen={chosen} onChoose={setChosen} />
      </header>
      <div className="body winner">
        <FormText name={name} form={form} text={text} />
      </div>
    </section>
  );
}
