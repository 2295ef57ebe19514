import { useQueries, useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { useEffect } from "react";
import { isOffline } from "~/api/client";
import { choiceQuery, studyQuery, trialQuery } from "~/api/queries";
import type { StudyDetails } from "~/api/types";
import { AllStudies } from "~/components/AllStudies";
import { Badge } from "~/components/Badge";
import { Simulated } from "~/components/Simulated";
import { Empty, Failed, Waiting } from "~/components/states";
import { answerTrials, type CompareColumn, places, resolvedOf, settingsOf } from "./columns";
import { Differences } from "./Differences";
import { FiguresPanel } from "./FiguresPanel";
import { LatencyCurves } from "./LatencyCurves";
import { StudiesTable } from "./StudiesTable";
import { type CompareSearch, compareSearch, MOST, numbersIn } from "./search";

/** Trials of one study side by side, or the answers of two studies. */
export function ComparePage() {
  const { name } = useParams({ from: "/signed-in/studies/$name/compare" });
  const search = compareSearch({ ...useSearch({ from: "/signed-in/studies/$name/compare" }) });
  const own = useQuery(studyQuery(name));
  const other = useQuery({ ...studyQuery(search.with ?? ""), enabled: search.with !== undefined });
  useEffect(() => {
    document.title = `Compare ${name}${search.with ? ` with ${search.with}` : ""} · Autotuner`;
  }, [name, search.with]);
  const error = own.error ?? other.error;
  if (error && (!own.data || (search.with && !other.data))) return <Failed error={error} />;
  if (!own.data || (search.with && !other.data)) return <Waiting what="the study" />;
  return <Compared details={own.data} other={other.data ?? null} search={search} />;
}

interface Props {
  details: StudyDetails;
  other: StudyDetails | null;
  search: CompareSearch;
}

function Compared({ details, other, search }: Props) {
  const navigate = useNavigate();
  const change = (part: { [K in keyof CompareSearch]: CompareSearch[K] | undefined }) =>
    navigate({
      to: "/studies/$name/compare",
      params: { name: details.name },
      search: (before) =>
        Object.fromEntries(Object.entries({ ...before, ...part }).filter(([, value]) => value)),
      replace: true,
      resetScroll: false,
    });
  const sides = [
    { study: details, numbers: numbersIn(search.trials) ?? answerTrials(details), key: "trials" as const },
    ...(other
      ? [{ study: other, numbers: numbersIn(search.others) ?? answerTrials(other), key: "others" as const }]
      : []),
  ];
  const asked = sides.flatMap((side) =>
    side.numbers.flatMap((number) => {
      const row = side.study.trials.find((one) => one.number === number);
      return row ? [{ ...side, row }] : [];
    }),
  );
  const missing = sides.flatMap(({ study, numbers }) =>
    numbers
      .filter((number) => !study.trials.some((one) => one.number === number))
      .map((number) => `${study.name} has no trial ${number}.`),
  );
  const read = useQueries({ queries: asked.map(({ study, row }) => trialQuery(study.name, row.number)) });
  const columns = asked.map(
    ({ study, row }, i): CompareColumn => ({
      id: `${study.name} ${row.number}`,
      title: `${other ? `${study.name} ` : ""}trial ${row.number}`,
      details: study,
      row,
      full: read[i]?.data,
      prefix: study === details ? "" : `${study.name}:`,
    }),
  );
  const known = places(columns);
  const place = known.find((one) => one.id === search.at) ?? known.at(-1);
  const failed = read.find((one) => one.error)?.error;
  const remove = (i: number) => {
    const side = asked[i];
    if (!side) return;
    change({ [side.key]: side.numbers.filter((number) => number !== side.row.number).join(",") });
  };
  return (
    <>
      <nav className="crumbs" aria-label="Breadcrumb">
        <AllStudies />
        <Link to="/studies/$name" params={{ name: details.name }}>
          {details.name}
        </Link>
      </nav>
      <Simulated sentence={details.simulated || (other?.simulated ?? "")} />
      <header className="study-head">
        <h1>{other ? `Compare ${details.name} with ${other.name}` : "Compare trials"}</h1>
        <Choices details={details} other={other} columns={columns} sides={sides} change={change} />
      </header>
      {missing.length > 0 && (
        <p className="bad" role="alert">
          {missing.join(" ")}
        </p>
      )}
      {columns.length < 2 ? (
        <Empty title="Choose at least two trials" />
      ) : (
        <>
          {other && <StudiesTable studies={[details, other]} />}
          <Heads columns={columns} onRemove={remove} />
          {failed ? (
            <p className="bad" role="alert">
              {failed.message}
            </p>
          ) : (
            <>
              <Differences
                title="Configuration"
                columns={columns}
                maps={columns.map((column) => settingsOf(column.full))}
                ready={read.every((one) => one.data)}
              />
              <Differences
                title="Resolved settings"
                columns={columns}
                maps={columns.map((column) => resolvedOf(column.full))}
                ready={read.every((one) => one.data)}
                optional
              />
            </>
          )}
          {place && (
            <>
              <FiguresPanel columns={columns} places={known} place={place} onPlace={(at) => change({ at })} />
              <LatencyCurves columns={columns} place={place} />
            </>
          )}
        </>
      )}
    </>
  );
}

interface ChoicesProps {
  details: StudyDetails;
  other: StudyDetails | null;
  columns: readonly CompareColumn[];
  sides: readonly { study: StudyDetails; numbers: readonly number[]; key: "trials" | "others" }[];
  change: (part: { [K in keyof CompareSearch]: CompareSearch[K] | undefined }) => void;
}

function Choices({ details, other, columns, sides, change }: ChoicesProps) {
  const studies = useQuery({ ...choiceQuery, enabled: !isOffline() }).data?.items ?? [];
  return (
    <div className="bar compare-bar">
      {columns.length < MOST &&
        sides.map(({ study, numbers, key }) => (
          <label key={key}>
            Add a trial{other ? ` of ${study.name}` : ""}
            <select
              value=""
              onChange={(event) => change({ [key]: [...numbers, Number(event.target.value)].join(",") })}
            >
              <option value="">choose</option>
              {[...study.trials]
                .sort((a, b) => a.number - b.number)
                .filter((row) => !numbers.includes(row.number))
                .map((row) => (
                  <option key={row.number} value={row.number}>
                    {row.number}: {row.repeat_of === null ? row.outcome : `repeat of ${row.repeat_of}`}
                  </option>
                ))}
            </select>
          </label>
        ))}
      <label hidden={isOffline()}>
        With the study
        <select
          value={other?.name ?? ""}
          onChange={(event) => change({ with: event.target.value, others: undefined, at: undefined })}
        >
          <option value="">none</option>
          {[...new Set([...studies.map((one) => one.name), ...(other ? [other.name] : [])])]
            .filter((name) => name !== details.name)
            .sort()
            .map((name) => (
              <option key={name}>{name}</option>
            ))}
        </select>
      </label>
    </div>
  );
}

function Heads({ columns, onRemove }: { columns: readonly CompareColumn[]; onRemove: (i: number) => void }) {
  return (
    <ul className="cards compared" aria-label="Compared trials">
      {columns.map((column, i) => (
        <li key={column.id}>
          <span className="title">
            <span className={`line series-${i % 8}`} />
            <Link
              to="/studies/$name/trials/$trial"
              params={{ name: column.details.name, trial: String(column.row.number) }}
            >
              {column.title}
            </Link>
            <Badge tone={column.row.tone}>{column.row.outcome}</Badge>
            {columns.length > 2 && (
              <button
                type="button"
                className="plain"
                aria-label={`Remove ${column.title}`}
                onClick={() => onRemove(i)}
              >
                ×
              </button>
            )}
          </span>
          <span className="small mono quiet">{column.row.label}</span>
          {column.row.reasons[0] && <span className="small reason">{column.row.reasons[0]}</span>}
        </li>
      ))}
    </ul>
  );
}
