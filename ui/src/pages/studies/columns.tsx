import { Link } from "@tanstack/react-router";
import { ofOverview } from "~/components/actions/allowed";
import { StudyActions } from "~/components/actions/StudyActions";
import { Badge, Progress } from "~/components/Badge";
import type { Column } from "~/components/DataTable";
import { Figure, Percent } from "~/components/Figure";
import { studyTone } from "~/components/tones";
import { metricOf } from "~/format/metrics";
import { age, moment } from "~/format/time";
import type { StudyRow } from "./rows";

const ENDINGS: Record<string, string> = {
  nothing_feasible: "nothing meets the SLOs",
  nothing_measured: "nothing could be measured",
  not_compared_yet: "not compared yet",
};

/** The columns of the list; `now` is in seconds since the epoch, and `writes` whether the session may change studies. */
export function studyColumns(now: number, writes: boolean): Column<StudyRow>[] {
  const columns = dataColumns(now);
  return writes ? [...columns, ACTIONS] : columns;
}

const ACTIONS: Column<StudyRow> = {
  id: "actions",
  title: <span className="hidden">Actions</span>,
  className: "row-actions",
  pinned: true,
  cell: (row) => <StudyActions subject={ofOverview(row.study)} />,
};

function dataColumns(now: number): Column<StudyRow>[] {
  return [
    {
      id: "name",
      title: "Study",
      value: (row) => row.study.name,
      cell: (row) => (
        <Link className="name" to="/studies/$name" params={{ name: row.study.name }}>
          {row.study.name}
        </Link>
      ),
    },
    {
      id: "state",
      title: "State",
      value: (row) => row.standing,
      cell: (row) => (
        <Badge tone={studyTone(row.standing)} live={row.study.running ?? false}>
          {row.standing}
        </Badge>
      ),
    },
    {
      id: "launches",
      title: "Launches",
      largestFirst: true,
      value: (row) => row.study.launches ?? 0,
      cell: (row) => <Progress done={row.study.launches ?? 0} planned={row.study.planned ?? 0} />,
    },
    {
      id: "gain",
      title: "Gain",
      number: true,
      largestFirst: true,
      value: (row) => row.gain,
      cell: (row) => <Gain row={row} />,
    },
    {
      id: "value",
      title: "Best so far",
      number: true,
      largestFirst: true,
      value: (row) => row.study.answer.value ?? null,
      cell: (row) => (
        <Figure
          path={`studies.${row.index}.answer.value`}
          value={row.study.answer.value}
          unit={metricOf(objective(row)?.metric).unit}
        />
      ),
    },
    { id: "objective", title: "Objective", value: objectiveText, cell: objectiveText },
    {
      id: "configuration",
      title: "Configuration",
      className: "text mono",
      value: (row) => row.study.answer.configuration ?? "",
      cell: (row) => <Recommended row={row} />,
    },
    {
      id: "engine",
      title: "Engine",
      value: (row) => row.engines.join(),
      cell: (row) => row.engines.join(", "),
    },
    {
      id: "age",
      title: "Updated",
      number: true,
      value: (row) => now - row.study.updated_at,
      cell: (row) => (
        <time
          dateTime={new Date(row.study.updated_at * 1000).toISOString()}
          title={moment(row.study.updated_at)}
        >
          {age(now - row.study.updated_at)}
        </time>
      ),
    },
  ];
}

function Gain({ row }: { row: StudyRow }) {
  const change = row.study.answer.change;
  if (change === null || change === undefined) return <span className="quiet">–</span>;
  return (
    <span className={(row.gain ?? 0) > 0 ? "good" : "bad"}>
      <Percent path={`studies.${row.index}.answer.change`} value={change} />
    </span>
  );
}

function Recommended({ row }: { row: StudyRow }) {
  const { configuration, ending } = row.study.answer;
  if (configuration) return <span title={configuration}>{configuration}</span>;
  return <span className="quiet">{ENDINGS[ending] ?? ending.replaceAll("_", " ")}</span>;
}

function objective(row: StudyRow) {
  return row.study.spec.objectives[0];
}

function objectiveText(row: StudyRow): string {
  const first = objective(row);
  if (!first) return "";
  const title = metricOf(first.metric).title;
  return first.statistic ? `${first.statistic} ${title}` : title;
}
