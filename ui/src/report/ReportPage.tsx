import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type ReactNode, useEffect, useMemo, useState } from "react";
import { NOTHING } from "~/api/live";
import { evidenceQuery, studyQuery } from "~/api/queries";
import type { StudyDetails, StudyEvidence } from "~/api/types";
import { Lit, LitContext } from "~/components/lit";
import { Simulated } from "~/components/Simulated";
import { Failed, Waiting } from "~/components/states";
import { Answer } from "~/pages/study/Answer";
import { CapacityOf } from "~/pages/study/CapacityPanel";
import { CurvesPanel } from "~/pages/study/CurvesPanel";
import { HistoryPanel } from "~/pages/study/HistoryPanel";
import { jsonIndex, measures } from "~/pages/study/measures";
import { ParallelPanel } from "~/pages/study/ParallelPanel";
import { PredictionsPanel } from "~/pages/study/PredictionsPanel";
import { Proof } from "~/pages/study/Proof";
import { ScatterPanel } from "~/pages/study/ScatterPanel";
import { TimelinePanel } from "~/pages/study/TimelinePanel";
import { TrialsPanel } from "~/pages/study/TrialsPanel";
import { useStudyPage } from "~/pages/study/useStudyPage";
import { ComparisonPanel } from "./ComparisonPanel";
import { Conditions, Reproduce } from "./Conditions";
import { useReport } from "./context";
import { hasLatencies } from "./data";
import { FailuresPanel } from "./FailuresPanel";
import { ImportancePanel } from "./ImportancePanel";
import { LatenciesOf } from "./LatenciesOf";
import { ReportHeader } from "./ReportHeader";
import { TablePanel } from "./TablePanel";
import { UsePanel } from "./UsePanel";

/** The whole report: the answer, what it rests on, and how to reproduce it, from top to bottom. */
export function ReportPage() {
  const { name } = useStudyPage();
  const details = useQuery(studyQuery(name));
  const evidence = useQuery(evidenceQuery(name));
  useEffect(() => {
    document.title = `${name}: tuning report`;
  }, [name]);
  const error = details.error ?? evidence.error;
  if (error) return <Failed error={error} />;
  if (!details.data || !evidence.data) return <Waiting what="the study" />;
  return <Report details={details.data} evidence={evidence.data} />;
}

interface Section {
  id: string;
  title: string;
  content: ReactNode;
}

function Report({ details, evidence }: { details: StudyDetails; evidence: StudyEvidence }) {
  const [lit] = useState(() => new Lit());
  const { positions, left_out } = useReport();
  const index = useMemo(
    () =>
      positions
        ? new Map(Object.entries(positions).map(([number, at]) => [Number(number), at]))
        : jsonIndex(details),
    [details, positions],
  );
  const sections = useSections(details, evidence, index);
  return (
    <LitContext value={lit}>
      <Simulated sentence={details.simulated} />
      <ReportHeader details={details} evidence={evidence} />
      <Answer details={details} index={index} />
      {evidence.engines.map((line) => (
        <p key={line} className="quiet">
          {line}
        </p>
      ))}
      {left_out.map((sentence) => (
        <p key={sentence} className="doubtful" role="note">
          {sentence}
        </p>
      ))}
      <nav className="contents" aria-label="Contents">
        <ul>
          {sections.map(({ id, title }) => (
            <li key={id}>
              <Link to="/studies/$name" params={{ name: details.name }} hash={id} search>
                {title}
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      {sections.map(({ id, content }) => (
        <div key={id} id={id} className="report-section">
          {content}
        </div>
      ))}
    </LitContext>
  );
}

/** The sections that this study has, in the order in which they are read. */
function useSections(
  details: StudyDetails,
  evidence: StudyEvidence,
  index: ReadonlyMap<number, number>,
): Section[] {
  const known = useMemo(() => measures(details, index), [details, index]);
  const report = useReport();
  const measured = details.trials.some((row) => row.windows.length + row.capacities.length > 0);
  // Where the default stays, the challenger is what it is compared with.
  const answer =
    details.winner === details.default ? (details.best ?? details.winner) : (details.winner ?? details.best);
  const first = known[0];
  const capacities = [...new Set([answer, details.default])].flatMap(
    (number) => details.trials.find((row) => row.number === number && row.capacities.length > 0) ?? [],
  );
  const section = (id: string, title: string, content: ReactNode | false): Section | false =>
    content !== false && content !== null && { id, title, content };
  const all = [
    section("proof", "Proof", details.compared.length > 1 && <Proof details={details} index={index} />),
    section(
      "use",
      "Use it",
      details.winner !== null && <UsePanel details={details} winner={details.winner} />,
    ),
    section("caveats", "Caveats", evidence.caveats.length > 0 && <Caveats texts={evidence.caveats} />),
    section(
      "comparison",
      "Comparison",
      evidence.compared.places.length > 0 && (
        <ComparisonPanel details={details} compared={evidence.compared} />
      ),
    ),
    section(
      "conditions",
      "Conditions",
      evidence.conditions.length + evidence.learned.length > 0 && <Conditions evidence={evidence} />,
    ),
    section(
      "search",
      "Search",
      measured && (
        <div className="plots">
          <HistoryPanel details={details} measures={known} />
          <ScatterPanel details={details} measures={known} />
          <CurvesPanel details={details} />
          {details.predicted && <PredictionsPanel details={details} />}
        </div>
      ),
    ),
    section(
      "capacity",
      "Capacity",
      capacities.length > 0 &&
        capacities.map((row) => <CapacityOf key={row.number} details={details} index={index} row={row} />),
    ),
    section(
      "latencies",
      "Latencies",
      answer !== null && hasLatencies(report, answer) && (
        <LatenciesOf name={details.name} trial={answer} root={`trials.${index.get(answer)}`} />
      ),
    ),
    section(
      "parameters",
      "Parameters",
      first !== undefined && details.parameters.length > 0 && (
        <>
          <ImportancePanel details={details} measure={first} table={evidence.parameters} />
          <ParallelPanel details={details} measures={known} />
        </>
      ),
    ),
    section(
      "trials",
      "Trials",
      details.trials.length > 0 && <TrialsPanel details={details} index={index} live={NOTHING} />,
    ),
    section(
      "failures",
      "Failures",
      evidence.failures.length > 0 && <FailuresPanel failures={evidence.failures} />,
    ),
    section("timeline", "Timeline", measured && <TimelinePanel details={details} live={NOTHING} />),
    section("parts", "Parts of the load", evidence.parts && <TablePanel table={evidence.parts} />),
    section("server", "Servers", evidence.server && <TablePanel table={evidence.server} />),
    section("gpus", "GPUs", evidence.gpus && <TablePanel table={evidence.gpus} />),
    section("reproduce", "Reproduce", <Reproduce details={details} evidence={evidence} />),
  ];
  return all.filter((one) => one !== false);
}

/** Reasons to doubt the answer. */
function Caveats({ texts }: { texts: readonly string[] }) {
  return (
    <section className="panel" aria-label="Caveats">
      <header>
        <h2>Caveats</h2>
      </header>
      <ul className="body notes">
        {texts.map((text) => (
          <li key={text}>{text}</li>
        ))}
      </ul>
    </section>
  );
}
