"""State of a running study, folded from its events, for any view."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from autotuner.events.types import (
    Event,
    Notice,
    PhaseEntered,
    Remaining,
    StudyFinished,
    StudyStarted,
    StudyWaiting,
    TrialFinished,
    TrialProposed,
    UnknownEvent,
    WindowProgress,
    WorldLearned,
)
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.reference import reference_text
from autotuner.study.simulated import simulated_text
from autotuner.study.trial import TrialRole


@dataclass
class Row:
    """One trial as shown by a view. Times in seconds, rates per second."""

    number: int
    role: TrialRole
    configuration: Configuration
    engine_default: bool = False
    """Whether it is the default or baseline of an engine other than the first one."""
    repeat_of: int | None = None
    block: int | None = None
    phase: str = "queued"
    where: str = ""
    short_window: bool = False
    """Whether the running window is the short one before the full ones."""
    elapsed_s: float = 0.0
    total_s: float = 0.0
    output_throughput: float | None = None
    """Output tokens per second: of the running window, then the geometric mean over windows."""
    objectives: tuple[float | None, ...] = ()
    """Value of each objective of the study, in order."""
    slos: tuple[float | None, ...] = ()
    """Worst value for each SLO of the study, in order."""
    state: str = "queued"
    feasible: bool | None = None
    quality_fault: str = ""
    """Whether only its answers make it infeasible."""
    rankable: bool = True
    """False if the trial's values must not be compared with others."""
    unsure: tuple[str, ...] = ()
    """Percentiles of SLOs and objectives whose samples are too small."""
    cut: str = ""
    """Why levels were left out; empty if all were measured."""
    by_short_window: bool = False
    """Whether the short window decided that."""
    note: str = ""
    """``cause: message`` of a failure."""
    gpus: int = 0
    simulated: bool = False
    """Whether its numbers are simulated."""
    started_at: float | None = None
    finished_at: float | None = None

    @property
    def label(self) -> str:
        """The tuned values, marked if others are compared with the trial."""
        is_reference = self.role is TrialRole.DEFAULT or self.engine_default
        return reference_text(self.configuration) if is_reference else self.configuration.text

    @property
    def objective(self) -> float | None:
        """The first objective."""
        return self.objectives[0] if self.objectives else None


@dataclass
class StudyView:
    """State of a study; :meth:`apply` takes its events in order."""

    study: str
    seq: int = 0
    state: str = "new"
    why: str = ""
    ending: str = ""
    """Value of :class:`autotuner.tuning.ending.Ending`; empty until the study has ended."""
    started_at: float | None = None
    rows: dict[int, Row] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    _left: tuple[int, int] = (0, 0)
    _parallel: int = 1

    def apply(self, events: Sequence[Event | UnknownEvent]) -> None:
        """Applies stored events; those that were applied before are ignored."""
        for event in events:
            if event.seq > self.seq:
                self.seq = event.seq
                self._one(event)

    def left(self) -> tuple[int, int]:
        """(launches of the search, repeats) that may still be started."""
        return self._left

    def planned(self) -> int:
        """Most trials that the study will have in the end, repeats included, void ones excluded."""
        return sum(r.state != "void" for r in self.rows.values()) + sum(self._left)

    def finished(self) -> list[Row]:
        """Trials that ended with a result."""
        return [r for r in self.rows.values() if r.state in {"done", "failed"}]

    def simulated(self) -> str:
        """The sentence about simulated numbers; empty if there are none."""
        return simulated_text({r.number: r.simulated for r in self.rows.values() if r.output_throughput is not None})

    def eta_s(self, now: float) -> float | None:
        """Most seconds that remain, from the mean duration of the finished trials; None until one is finished.

        Trials of the search run in parallel, repeats one after another and completely.
        """
        rows = [r for r in self.finished() if r.finished_at is not None and r.started_at is not None]
        if not rows or self.state != "running":
            return None
        mean = _mean_s(rows)
        complete = _mean_s([r for r in rows if not r.cut] or rows)
        search, repeats = self._left
        running = [now - r.started_at for r in self.rows.values() if r.state == "running" and r.started_at]
        rest = max((mean - t for t in running), default=0.0)
        return max(0.0, rest) + math.ceil(search / self._parallel) * mean + repeats * complete

    def _one(self, event: Event | UnknownEvent) -> None:
        match event:
            case StudyStarted():
                self._study_started(event)
            case StudyFinished():
                self.state = event.state
                self.why = event.why
                self.ending = event.ending
                self._left = (0, 0)
            case Notice():
                where = f"trial {event.trial}: " if event.trial is not None else ""
                self.notices.append(where + event.text)
            case StudyWaiting():
                self.notices.append(f"waits in the queue: {event.why}")
            case TrialProposed():
                self._trial_proposed(event)
            case PhaseEntered():
                self._phase_entered(event)
            case WindowProgress():
                self._progress(event)
            case TrialFinished():
                self._trial_finished(event)
            case WorldLearned() | UnknownEvent():
                pass  # nothing to show

    def _study_started(self, event: StudyStarted) -> None:
        self.state = "running"
        self.why = ""
        self.ending = ""
        self.started_at = event.at
        self._parallel = max(1, event.parallel)
        self._see_left(event.left)

    def _trial_proposed(self, event: TrialProposed) -> None:
        self.rows[event.trial] = Row(
            number=event.trial,
            role=event.role,
            configuration=event.configuration,
            engine_default=event.engine_default,
            repeat_of=event.repeat_of,
            block=event.block,
            started_at=event.at,
        )
        self._see_left(event.left)

    def _see_left(self, left: Remaining | None) -> None:
        if left is not None:
            self._left = (left.search, left.repeats)

    def _phase_entered(self, event: PhaseEntered) -> None:
        row = self.rows.get(event.trial)
        if row is None:
            return
        row.phase = event.phase.value
        row.state = "running"
        row.where = f"{event.scenario} {event.level}".strip()
        row.short_window = event.short_window
        self._facts(row, event)

    def _progress(self, event: WindowProgress) -> None:
        row = self.rows.get(event.trial)
        if row is None:
            return
        row.elapsed_s = event.elapsed_s
        row.total_s = event.total_s
        row.output_throughput = event.output_throughput

    def _trial_finished(self, event: TrialFinished) -> None:
        row = self.rows.get(event.trial)
        if row is None:
            return
        row.state = event.state.value
        row.phase = "done"
        row.finished_at = event.at
        self._facts(row, event)
        row.output_throughput = _geometric_mean([w.output_throughput for w in event.windows if w.output_throughput])
        row.slos = event.slos
        row.cut = event.cut
        row.by_short_window = event.by_short_window
        if event.verdict is not None:
            row.feasible = event.verdict.feasible or event.verdict.doubtful
            row.quality_fault = event.verdict.quality_fault
            row.rankable = event.verdict.rankable
            row.unsure = event.verdict.unsure
            row.objectives = event.verdict.objectives
        if event.failure is not None:
            row.note = f"{event.failure.cause}: {event.failure.message}"
            row.feasible = row.feasible if event.verdict is not None else False

    @staticmethod
    def _facts(row: Row, event: PhaseEntered | TrialFinished) -> None:
        """Keeps values once they are known, since a trial that ends early may not report them again."""
        row.gpus = event.gpus or row.gpus
        row.simulated = event.simulated or row.simulated


def _mean_s(rows: Sequence[Row]) -> float:
    return sum((r.finished_at or 0.0) - (r.started_at or 0.0) for r in rows) / len(rows)


def _geometric_mean(values: Sequence[float]) -> float | None:
    if not values:
        return None
    product = 1.0
    for value in values:
        product *= value ** (1 / len(values))
    return product
