import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useEffect, useMemo, useState } from "react";
import { studyQuery } from "~/api/queries";
import type { StudyDetails } from "~/api/types";
import { useLive } from "~/api/useLive";
import { Lit, LitContext } from "~/components/lit";
import { Simulated } from "~/components/Simulated";
import { Failed, Waiting } from "~/components/states";
import { Answer } from "./Answer";
import { CapacityPanel } from "./CapacityPanel";
import { CurvesPanel } from "./CurvesPanel";
import { HistoryPanel } from "./HistoryPanel";
import { jsonIndex, measures } from "./measures";
import { Now } from "./Now";
import { ParallelPanel } from "./ParallelPanel";
import { ParametersPanel } from "./ParametersPanel";
import { PredictionsPanel } from "./PredictionsPanel";
import { Proof } from "./Proof";
import { ScatterPanel } from "./ScatterPanel";
import { StudyHeader } from "./StudyHeader";
import { TimelinePanel } from "./TimelinePanel";
import { TrialsPanel } from "./TrialsPanel";
import { useStudyPage } from "./useStudyPage";

export function StudyPage() {
  const { name } = useStudyPage();
  const { data, error } = useQuery(studyQuery(name));
  useEffect(() => {
    document.title = `${name} · Autotuner`;
  }, [name]);
  if (!data && error) return <Failed error={error} />;
  if (!data) return <Waiting what="the study" />;
  return <Study key={name} details={data} />;
}

function Study({ details }: { details: StudyDetails }) {
  const [lit] = useState(() => new Lit());
  const { live, connection } = useLive(details.name);
  const index = useMemo(() => jsonIndex(details), [details]);
  const known = useMemo(() => measures(details, index), [details, index]);
  const measured = details.trials.some((row) => row.windows.length + row.capacities.length > 0);
  return (
    <LitContext value={lit}>
      <nav className="crumbs" aria-label="Breadcrumb">
        <Link to="/studies">Studies</Link>
      </nav>
      <Simulated sentence={details.simulated} />
      <StudyHeader details={details} live={live} connection={connection} />
      <Answer details={details} index={index} />
      {details.running && <Now live={live} />}
      {measured && (
        <div className="plots">
          <HistoryPanel details={details} measures={known} />
          <ScatterPanel details={details} measures={known} />
          <CurvesPanel details={details} />
          <ParametersPanel details={details} measures={known} />
          {details.predicted && <PredictionsPanel details={details} />}
        </div>
      )}
      <CapacityPanel details={details} index={index} />
      {measured && <ParallelPanel details={details} measures={known} />}
      <TrialsPanel details={details} index={index} live={live} />
      {details.compared.length > 1 && <Proof details={details} index={index} />}
      <TimelinePanel details={details} live={live} />
    </LitContext>
  );
}
