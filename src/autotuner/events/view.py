"""What a running study looks like: a pure fold over its events, for the terminal now and any other view later."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autotuner.store.records import EventRecord
from autotuner.study.configuration import Configuration
from autotuner.study.simulated import simulated_text
from autotuner.study.trial import TrialRole


@dataclass
class Row:
    """One trial as a viewer sees it. Times in seconds, rates per second."""

    number: int
    role: TrialRole
    configuration: Configuration
    repeat_of: int | None = None
    phase: str = "queued"
    where: str = ""
    elapsed_s: float = 0.0
    total_s: float = 0.0
    output_throughput: float | None = None
    """Of the running window, then the geometric mean over windows."""
    objectives: tuple[float | None, ...] = ()
    """One per objective of the study, in order."""
    slos: tuple[float | None, ...] = ()
    """One per SLO of the study, in order: the worst value over the places that it is about."""
    state: str = "queued"
    feasible: bool | None = None
    rankable: bool = True
    """False where the figures may not be compared with others."""
    unsure: tuple[str, ...] = ()
    """Percentiles of SLOs and objectives that their samples cannot carry."""
    note: str = ""
    """``cause: message`` of a failure."""
    gpus: int = 0
    simulated: bool = False
    """Its numbers are not real."""
    started_at: float | None = None
    finished_at: float | None = None

    @property
    def objective(self) -> float | None:
        """The first objective."""
        return self.objectives[0] if self.objectives else None


@dataclass
class StudyView:
    """The study so far. Feed events in order with :meth:`apply`."""

    study: str
    seq: int = 0
    state: str = "new"
    why: str = ""
    ending: str = ""
    """Value of :class:`autotuner.tuning.ending.Ending`; empty until the study has ended."""
    announced: Mapping[str, Any] = field(default_factory=dict)
    started_at: float | None = None
    rows: dict[int, Row] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    _left: tuple[int, int] = (0, 0)
    _parallel: int = 1

    def apply(self, events: Sequence[EventRecord]) -> None:
        """Takes further events; ones already seen are ignored."""
        for event in events:
            if event.seq > self.seq:
                self.seq = event.seq
                handler = getattr(self, f"_on_{event.kind}", None)
                if handler is not None:
                    handler(event)

    def left(self) -> tuple[int, int]:
        """(launches of the search, repeats) still to be started, at most."""
        return self._left

    def planned(self) -> int:
        """Trials that this study will have made at most, repeats included; voided ones are not counted."""
        return sum(r.state != "void" for r in self.rows.values()) + sum(self._left)

    def finished(self) -> list[Row]:
        """Trials that ended with a result."""
        return [r for r in self.rows.values() if r.state in {"done", "failed"}]

    def simulated(self) -> str:
        """The sentence on simulated numbers; empty where there are none."""
        return simulated_text({r.number: r.simulated for r in self.rows.values() if r.output_throughput is not None})

    def eta_s(self, now: float) -> float | None:
        """Seconds to go at most, from the mean duration of the finished trials; None before the first one is finished.
        Searched trials run side by side, repeats one after another."""
        times = [
            r.finished_at - r.started_at
            for r in self.finished()
            if r.finished_at is not None and r.started_at is not None
        ]
        if not times or self.state != "running":
            return None
        mean = sum(times) / len(times)
        search, repeats = self._left
        running = [now - r.started_at for r in self.rows.values() if r.state == "running" and r.started_at]
        rest = max((mean - t for t in running), default=0.0)
        return max(0.0, rest) + (math.ceil(search / self._parallel) + repeats) * mean

    def _on_study_started(self, event: EventRecord) -> None:
        self.state = "running"
        self.announced = event.data
        self.started_at = event.at
        self.why = ""
        data: Mapping[str, Any] = event.data
        self._parallel = max(1, int(data.get("parallel") or 1))
        self._see_left(data)
        self.ending = ""

    def _on_study_finished(self, event: EventRecord) -> None:
        self.state = str(event.data.get("state"))
        self.why = str(event.data.get("why", ""))
        self.ending = str(event.data.get("ending", ""))
        self._left = (0, 0)

    def _on_notice(self, event: EventRecord) -> None:
        where = f"trial {event.trial}: " if event.trial is not None else ""
        self.notices.append(where + str(event.data.get("text", "")))

    def _on_trial_proposed(self, event: EventRecord) -> None:
        if event.trial is None:
            return
        data: Mapping[str, Any] = event.data
        self.rows[event.trial] = Row(
            number=event.trial,
            role=TrialRole(data["role"]),
            configuration=Configuration(values=data["values"]),
            repeat_of=data.get("repeat_of"),
            started_at=event.at,
        )
        self._see_left(data)

    def _see_left(self, data: Mapping[str, Any]) -> None:
        left = data.get("left")
        if left:
            self._left = (int(left["search"]), int(left["repeats"]))

    def _on_phase(self, event: EventRecord) -> None:
        row = self._row(event)
        if row is not None:
            row.phase = str(event.data["phase"])
            row.state = "running"
            self._facts(row, event.data)
            row.where = f"{event.data.get('scenario', '')} {event.data.get('level', '')}".strip()

    def _on_progress(self, event: EventRecord) -> None:
        row = self._row(event)
        if row is not None:
            data: Mapping[str, Any] = event.data
            row.elapsed_s = float(data["elapsed_s"])
            row.total_s = float(data["total_s"])
            row.output_throughput = float(data["output_throughput"])

    def _on_trial_finished(self, event: EventRecord) -> None:
        row = self._row(event)
        if row is None:
            return
        data: Mapping[str, Any] = event.data
        row.state = str(data["state"])
        row.phase = "done"
        row.finished_at = event.at
        self._facts(row, data)
        windows = data.get("windows") or []
        rates = [w["output_throughput"] for w in windows if w["output_throughput"]]
        row.output_throughput = _geometric_mean(rates)
        row.slos = tuple(data.get("slos") or ())
        verdict = data.get("verdict")
        failure = data.get("failure")
        if verdict:
            row.feasible = bool(verdict["feasible"])
            row.rankable = bool(verdict.get("rankable", True))
            row.unsure = tuple(verdict.get("unsure") or ())
            row.objectives = tuple(verdict["objectives"])
        if failure:
            row.note = f"{failure['cause']}: {failure['message']}"
            row.feasible = row.feasible if verdict else False

    @staticmethod
    def _facts(row: Row, data: Mapping[str, Any]) -> None:
        row.gpus = int(data.get("gpus") or row.gpus)
        row.simulated = bool(data.get("simulated")) or row.simulated

    def _row(self, event: EventRecord) -> Row | None:
        return self.rows.get(event.trial) if event.trial is not None else None


def _geometric_mean(values: Sequence[float]) -> float | None:
    if not values:
        return None
    product = 1.0
    for value in values:
        product *= value ** (1 / len(values))
    return product
