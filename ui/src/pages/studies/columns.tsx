import { Link } from "@tanstack/react-router";
import { ofRow } from "~/components/actions/allowed";
import { NoWorker } from "~/components/actions/QueuePlace";
import { StudyActions } from "~/components/actions/StudyActions";
import { Badge, Progress } from "~/components/Badge";
import type { Column } from "~/components/DataTable";
import { Figure, Percent } from "~/components/Figure";
import { studyTone } from "~/components/tones";
import { metricOf } from "~/format/metrics";
import { age, moment } from "~/format/time";
import type { ListedStudy } from "./rows";

const ENDINGS: Record<string, string> = {
  nothing_feasible: "nothing meets the SLOs",
  nothing_measured: "nothing could be measured",
  not_compared_yet: "not compared yet",
};

/** The columns of the list; `now` is in seconds since the epoch, and `writes` whether the session may change studies. */
export function studyColumns(now: number, writes: boolean): Column<ListedStudy>[] {
  const columns = dataColumns(now);
  return writes ? [...columns, ACTIONS] : columns;
}

const ACTIONS: Column<ListedStudy> = {
  id: "actions",
  title: <span className="hidden">Actions</span>,
  className: "row-actions",
  pinned: true,
  cell: (row) => <StudyActions subject={ofRow(row.study)} />,
};

function dataColumns(now: number): Column<ListedStudy>[] {
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
      value: (row) => row.study.standing,
      cell: (row) => (
        <>
          <Badge tone={studyTone(row.study.standing)} live={row.study.running}>
            {row.study.standing}
          </Badge>
          {row.study.standing === "queued" && <NoWorker name={row.study.name} />}
        </>
      ),
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
      cell: (row) => (
        <Figure
          path={`studies.${row.index}.answer.value`}
          value={row.study.value}
          unit={metricOf(row.study.objective?.metric).unit}
        />
      ),
    },
    {
      id: "launches",
      title: "Launches",
      largestFirst: true,
      value: (row) => row.study.launches,
      cell: (row) => <Progress done={row.study.launches} planned={row.study.planned} />,
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
    { id: "objective", title: "Objective", cell: objectiveText },
    {
      id: "configuration",
      title: "Configuration",
      className: "text mono",
      cell: (row) => <Recommended row={row} />,
    },
    {
      id: "engine",
      title: "Engine",
      cell: (row) => row.study.engines.join(", "),
    },
  ];
}

function Gain({ row }: { row: ListedStudy }) {
  const change = row.study.change;
  if (change === null) return <span className="quiet">–</span>;
  return (
    <span className={(row.gain ?? 0) > 0 ? "good" : "bad"}>
      <Percent path={`studies.${row.index}.answer.change`} value={change} />
    </span>
  );
}

function Recommended({ row }: { row: ListedStudy }) {
  const { configuration, ending } = row.study;
  if (configuration) return <span title={configuration}>{configuration}</span>;
  return <span className="quiet">{ENDINGS[ending] ?? ending.replaceAll("_", " ")}</span>;
}

function objectiveText(row: ListedStudy): string {
  const first = row.study.objective;
  if (!first) return "";
  const title = metricOf(first.metric).title;
  return first.statistic ? `${first.statistic} ${title}` : title;
}
