"""Output of ``queue``, ``workers`` and ``reap --dry-run``."""

from collections.abc import Mapping, Sequence

from rich.text import Text

from autotuner import LaunchedOverview, QueueEntry, UnreachableTarget, WorkerOverview
from autotuner.cli.columns import Column, table_text
from autotuner.cli.texts import age_text


def queue_text(entries: Sequence[QueueEntry], hosts: Mapping[str, str], *, now: float, width: int | None = None) -> str:
    """Renders one row per study. ``hosts`` are those of the workers by id; ``now`` is in seconds since the epoch."""
    if not entries:
        return "the queue is empty; to add a study: autotuner submit FILE"
    columns = [
        Column("#", align="right"),
        Column("study"),
        Column("state"),
        Column("priority", align="right", drop=2),
        Column("needs", drop=3),
        Column("submitted", align="right", drop=4),
        Column("by", drop=5),
    ]
    rows = [
        [
            Text("" if entry.position is None else str(entry.position)),
            Text(entry.study),
            Text(entry.state.value if entry.worker_id is None else f"on {hosts.get(entry.worker_id, entry.worker_id)}"),
            Text(str(entry.priority)),
            Text(_labels(entry.labels)),
            Text(age_text(now - entry.submitted_at)),
            Text(entry.submitted_by),
        ]
        for entry in entries
    ]
    notes = [
        f"{entry.study} cannot run on {hosts.get(worker, worker)}: {why}"
        for entry in entries
        if entry.worker_id is None
        for worker, why in entry.refusals.items()
    ]
    notes += [f"{entry.study} waits: {why}" for entry in entries if (why := entry.no_worker) and not entry.refusals]
    return "\n".join([table_text(columns, rows, width=width), *notes])


def workers_text(workers: Sequence[WorkerOverview], *, now: float, width: int | None = None) -> str:
    """Renders one row per worker; ``now`` is in seconds since the epoch."""
    if not workers:
        return "no workers; to start one: autotuner worker"
    columns = [
        Column("worker"),
        Column("host"),
        Column("state"),
        Column("labels", drop=2),
        Column("studies", wraps=True),
        Column("at most", align="right", drop=3),
        Column("started", align="right", drop=4),
    ]
    rows = [
        [
            Text(found.worker.id),
            Text(f"{found.worker.host}:{found.worker.pid}"),
            _state(found),
            Text(_labels(found.worker.labels)),
            Text(", ".join(found.studies)),
            Text(str(found.worker.at_most)),
            Text(age_text(now - found.worker.started_at)),
        ]
        for found in workers
    ]
    return table_text(columns, rows, width=width)


def launched_text(
    objects: Sequence[LaunchedOverview], unreachable: Sequence[UnreachableTarget], *, width: int | None = None
) -> str:
    """Renders one row per object that a run launched, and a line per target whose objects are not known."""
    columns = [
        Column("kind"),
        Column("name", wraps=True),
        Column("study"),
        Column("trial", align="right"),
        Column("owner", drop=2),
        Column("state"),
    ]
    rows = [
        [
            Text(one.kind),
            Text(one.name),
            Text(one.study),
            Text("?" if one.trial is None else str(one.trial)),
            Text(one.owner),
            Text(one.state.value.replace("_", " "), style="red" if one.state == "left_behind" else ""),
        ]
        for one in objects
    ]
    notes = [f"{one.deploy} cannot be listed: {one.reason}" for one in unreachable]
    if any(one.state == "left_behind" for one in objects):
        notes.append("to remove what is left behind: autotuner reap")
    found = table_text(columns, rows, width=width) if rows else "no servers or load generators of any run"
    return "\n".join([found, *notes])


def _state(found: WorkerOverview) -> Text:
    if found.alive:
        return Text(found.worker.state)
    return Text("ended", style="dim") if found.worker.state == "ended" else Text("lost", style="red")


def _labels(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels.items())
