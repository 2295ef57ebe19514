import { Link } from "@tanstack/react-router";
import { activityText, type Live, unfinished } from "~/api/live";
import type { StudyDetails, TrialRow } from "~/api/types";
import { Badge } from "~/components/Badge";
import type { Column } from "~/components/DataTable";
import { Figure } from "~/components/Figure";
import { metricOf } from "~/format/metrics";
import { shownUnit } from "~/format/numbers";
import { duration } from "~/format/time";
import { valueText } from "~/format/values";
import { goalPath } from "./measures";

interface Context {
  details: StudyDetails;
  index: ReadonlyMap<number, number>;
  live: Live;
  parameters: readonly string[];
}

/** Parameters whose values differ among trials; the default states none, so it does not count. */
export function differing(parameters: readonly string[], rows: readonly TrialRow[]): string[] {
  const set = rows.filter((row) => row.role === "search");
  return parameters.filter((name) => new Set(set.map((row) => valueText(row.values[name]))).size > 1);
}

/** The columns of a study's trials: outcome, goals, change, parameters, time, and why. */
export function trialColumns(context: Context): Column<TrialRow>[] {
  const { details, index, live } = context;
  return [
    {
      id: "rank",
      title: "Rank",
      number: true,
      value: (row) => row.rank,
      cell: (row) => row.rank ?? "",
    },
    {
      id: "trial",
      title: "Trial",
      number: true,
      value: (row) => row.number,
      cell: (row) => (
        <Link to="/studies/$name/trials/$trial" params={{ name: details.name, trial: String(row.number) }}>
          {row.number}
        </Link>
      ),
    },
    {
      id: "outcome",
      title: "Outcome",
      className: "outcome",
      value: (row) => row.outcome,
      cell: (row) => <OutcomeCell row={row} details={details} live={live} />,
    },
    ...details.goals.map((_, i) => goalColumn(details, i, index)),
    ...details.objectives.map((_, i) => changeColumn(details, i, index)),
    ...context.parameters.map(parameterColumn),
    {
      id: "time",
      title: "Time",
      number: true,
      largestFirst: true,
      value: spent,
      cell: (row) => {
        const seconds = spent(row);
        return seconds === null ? "" : duration(seconds);
      },
    },
    {
      id: "why",
      title: "Why",
      className: "text",
      value: (row) => why(row),
      cell: (row) => (
        <span title={[...row.reasons, row.cut, row.failure?.remedy].filter(Boolean).join("\n")}>
          {why(row)}
        </span>
      ),
    },
  ];
}

function OutcomeCell({ row, details, live }: { row: TrialRow; details: StudyDetails; live: Live }) {
  const activity = live.running.get(row.number);
  if (activity && unfinished(row)) {
    return (
      <>
        <Badge tone="open" live>
          {activity.phase}
        </Badge>{" "}
        <span className="quiet small">{activityText(activity).slice(activity.phase.length).trim()}</span>
      </>
    );
  }
  const what =
    row.role === "default" ? details.reference : row.repeat_of === null ? "" : `repeat of ${row.repeat_of}`;
  return (
    <>
      <Badge tone={row.tone}>{row.outcome}</Badge>
      {what && <span className="quiet small"> {what}</span>}
      {row.simulated && <span className="doubtful small"> simulated</span>}
    </>
  );
}

function goalColumn(details: StudyDetails, i: number, index: ReadonlyMap<number, number>): Column<TrialRow> {
  const goal = details.goals[i];
  const unit = metricOf(goal?.metric).unit;
  const shown = shownUnit(unit);
  const title = goal?.title ?? "";
  return {
    id: `goal-${i}`,
    title: (
      <>
        {title}
        <small>
          {[
            shown && !title.includes(shown) ? shown : "",
            goal?.level === "@all" ? "" : goal?.level,
            goal?.target,
          ]
            .filter(Boolean)
            .join(" · ")
            .replace("<=", "≤")
            .replace(">=", "≥")}
        </small>
      </>
    ),
    number: true,
    largestFirst: goal?.direction === "max",
    value: (row) => row.goals[i]?.value ?? null,
    cell: (row) => {
      const figure = row.goals[i];
      if (!goal || !figure || figure.value === null)
        return figure?.missed ? <span className="bad">–</span> : "";
      return (
        <span className={figure.missed ? "bad" : undefined}>
          <Figure path={goalPath(row, goal, figure.value, index)} value={figure.value} unit={unit} short />
        </span>
      );
    },
  };
}

function changeColumn(
  details: StudyDetails,
  i: number,
  index: ReadonlyMap<number, number>,
): Column<TrialRow> {
  const several = details.objectives.length > 1;
  const better = details.goals.find((goal) => goal.objective === i)?.direction ?? "max";
  return {
    id: `change-${i}`,
    title: (
      <>
        vs {details.reference}
        {several && <small>{details.objectives[i]}</small>}
      </>
    ),
    number: true,
    largestFirst: better === "max",
    value: (row) => row.changes[i]?.amount ?? null,
    cell: (row) => {
      const change = row.changes[i];
      if (!change) return "";
      const tone =
        change.repeats === 0 || change.amount === 0
          ? ""
          : change.amount > 0 === (better === "max")
            ? "good"
            : "bad";
      return (
        <data
          className={tone}
          value={change.amount}
          data-json={`trials.${index.get(row.number)}.changes.${i}.amount`}
        >
          {change.text}
        </data>
      );
    },
  };
}

function parameterColumn(name: string): Column<TrialRow> {
  const of = (row: TrialRow) => row.values[name];
  return {
    id: `set-${name}`,
    title: name,
    className: "mono",
    number: true,
    value: (row) => {
      const value = of(row);
      return typeof value === "number" ? value : value === undefined ? null : valueText(value);
    },
    cell: (row) => (of(row) === undefined ? <span className="quiet">·</span> : valueText(of(row))),
  };
}

function spent(row: TrialRow): number | null {
  return row.started_at === null || row.finished_at === null
    ? null
    : Math.max(0, row.finished_at - row.started_at);
}

function why(row: TrialRow): string {
  return row.reasons[0] ?? row.cut;
}
