"""Typed events of a study's stream: one frozen class per kind.

Writers construct them, readers match on their type. The store keeps a kind and JSON data; :func:`parse` turns a stored
row back into its class. Fields that this version does not know are dropped, and fields that an earlier version did not
write have defaults, so streams of both remain readable.
"""

import json
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from autotuner.scoring.slo import slo_value
from autotuner.store.records import EventRecord
from autotuner.study.base import FrozenModel, Value
from autotuner.study.configuration import Configuration
from autotuner.study.environment_facts import Fact
from autotuner.study.objective import SLO
from autotuner.study.trial import Phase, Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict

_PLACE = ("seq", "at", "study", "trial", "kind")
"""Fields with a column of their own in the store; all others are the event's data."""


class _Part(FrozenModel):
    """A piece of an event. A newer version may have added fields."""

    model_config = ConfigDict(extra="ignore")


class BaseEvent(_Part):
    """Fields of every event."""

    seq: int = 0
    """Position in the stream, growing within a store; 0 until the event is stored."""
    at: float = Field(default_factory=time.time)
    """Seconds since the epoch."""
    study: str
    """Name of the study."""
    trial: int | None = None
    """Number of the trial; null for events of the study as a whole."""
    kind: str
    """Name of the event's class in the store and in JSON."""

    def payload(self) -> dict[str, object]:
        """The event's data as JSON values: every field that is not a column of the store."""
        return self.model_dump(mode="json", exclude=set(_PLACE))

    def line(self) -> str:
        """The event as one line of JSON, as ``watch --json`` prints it; the fields of its kind are in ``data``."""
        place = {name: getattr(self, name) for name in _PLACE}
        return json.dumps({**place, "data": self.payload()}, ensure_ascii=False, separators=(",", ":"))


class Remaining(_Part):
    """Launches that a study still has to start, at most."""

    search: int
    """Launches of the search, the default included."""
    repeats: int
    """Launches of the proof."""


class StudyStarted(BaseEvent):
    """A run has taken ownership of the study and starts or resumes its trials."""

    kind: Literal["study_started"] = "study_started"
    left: Remaining | None = None
    """Launches of the whole study, at most, those of earlier runs included."""
    parallel: int = 1
    """Trials of the search that run at the same time."""
    trials: int | None = None
    """Trial budget of the search."""
    space: int | None = None
    """Grid points of the space before constraints; null for a continuous space."""
    parameters: tuple[str, ...] = ()
    """Names of the tuned parameters."""
    objectives: tuple[str, ...] = ()
    """Objectives as the study file spells them, the first one ranks."""
    slos: tuple[str, ...] = ()
    """SLOs as the study file spells them."""
    repeats: int = 0
    """Most launches of each configuration in the proof (``confirm.at_most``, or ``confirm.repeats``)."""
    world: Mapping[str, Fact] = Field(default_factory=dict)
    """Facts that the numbers depend on besides the study file, by name."""


class WorldLearned(BaseEvent):
    """A fact that the numbers depend on, such as the server's build, became known while trials ran."""

    kind: Literal["world"] = "world"
    facts: Mapping[str, Fact] = Field(default_factory=dict)
    """All facts that are known now, by name."""


class TrialProposed(BaseEvent):
    """A trial was added to the study; it is launched next."""

    kind: Literal["trial_proposed"] = "trial_proposed"
    trial: int
    role: TrialRole
    """Purpose of the trial: ``default``, ``search`` or ``confirm``."""
    values: Mapping[str, Value] = Field(default_factory=dict)
    """Tuned values by parameter; empty for the engine's default."""
    engine_default: bool = False
    """Whether the trial launches the default of an engine other than the first one, or the baseline that the study
    states for it."""
    repeat_of: int | None = None
    """For confirmations, the number of the trial whose configuration is launched again."""
    block: int | None = None
    """For confirmations, the block of the proof, from 1; null in studies of earlier versions."""
    left: Remaining | None = None
    """Launches that remain after this one, at most."""

    @property
    def configuration(self) -> Configuration:
        """The tuned values as a configuration."""
        return Configuration(values=self.values)


class PhaseEntered(BaseEvent):
    """A running trial entered another phase."""

    kind: Literal["phase"] = "phase"
    trial: int
    phase: Phase
    """The phase, for example ``loading`` or ``measuring``."""
    scenario: str = ""
    """Scenario of the window, for ``warming`` and ``measuring``; empty otherwise."""
    level: str = ""
    """Load level of the window, for ``warming`` and ``measuring``; empty otherwise."""
    short_window: bool = False
    """Whether this is the short window before the full ones, which only decides whether these are worth their time."""
    gpus: int = 0
    """GPUs that the trial holds."""
    simulated: bool = False
    """Whether the server said that its numbers are simulated."""


class WindowProgress(BaseEvent):
    """Progress of a running measurement window. Dropped if the store cannot keep up."""

    kind: Literal["progress"] = "progress"
    trial: int
    scenario: str = ""
    """Scenario of the window."""
    level: str = ""
    """Load level of the window."""
    elapsed_s: float
    """Seconds since the window began."""
    total_s: float
    """Seconds that the window takes."""
    completed: int = 0
    """Requests finished in the window."""
    failed: int = 0
    """Requests failed in the window."""
    output_throughput: float | None
    """Output tokens per second since the window began; None if answers are not streamed."""


class WindowSummary(_Part):
    """One measured window of a finished trial."""

    scenario: str = ""
    """Scenario of the window."""
    level: str = ""
    """Load level of the window."""
    output_throughput: float | None = None
    """Output tokens per second; null if it was not measured."""


class FailureSummary(_Part):
    """Why a trial has no usable result."""

    cause: str
    """Value of :class:`autotuner.study.failure.FailureCause`."""
    message: str
    """What happened, in one line."""


class TrialFinished(BaseEvent):
    """A trial ended, or its meaning changed afterward (other SLOs, a configuration that left the space)."""

    kind: Literal["trial_finished"] = "trial_finished"
    trial: int
    state: TrialState
    """``done``, ``failed`` or ``void``; a void trial is not a result."""
    role: TrialRole | None = None
    """Purpose of the trial."""
    gpus: int = 0
    """GPUs that the trial held."""
    simulated: bool = False
    """Whether the trial's numbers are simulated."""
    verdict: Verdict | None = None
    """Feasibility and objective values; null if nothing was scored."""
    failure: FailureSummary | None = None
    """Why the trial failed or is void; null if it is neither."""
    windows: tuple[WindowSummary, ...] = ()
    """The measured windows, in order."""
    slos: tuple[float | None, ...] = ()
    """Worst measured value for each SLO of the study, in its metric's unit; null if it was not measured."""
    cut: str = ""
    """Why the trial ended before all of its levels were measured; empty if it did not."""
    by_short_window: bool = False
    """Whether it ended after the short window, before the full ones."""

    @classmethod
    def of(cls, trial: Trial, slos: Sequence[SLO]) -> "TrialFinished":
        """The event for the present state of a trial."""
        failure = trial.failure
        return cls(
            study=trial.study,
            trial=trial.number,
            state=trial.state,
            role=trial.role,
            gpus=trial.gpus,
            simulated=trial.simulated,
            verdict=trial.verdict,
            failure=FailureSummary(cause=failure.cause.value, message=failure.message) if failure else None,
            windows=tuple(
                WindowSummary(
                    scenario=m.scenario,
                    level=m.level.text,
                    output_throughput=m.value("output_throughput", None),
                )
                for m in trial.measurements
            ),
            slos=tuple(slo_value(slo, trial.measurements) for slo in slos) if trial.measurements else (),
            cut=trial.cut.text if trial.cut else "",
            by_short_window=trial.cut is not None and trial.cut.confidence is not None,
        )


class Notice(BaseEvent):
    """A message to the user: a wait, a retry, a disturbed window."""

    kind: Literal["notice"] = "notice"
    text: str
    """One line."""
    scenario: str = ""
    """Scenario of the window that it is about; empty otherwise."""
    level: str = ""
    """Load level of the window that it is about; empty otherwise."""


class StudyWaiting(BaseEvent):
    """The study has waited in the queue for ten minutes, and no worker could run it. Once until it runs; only servers
    look."""

    kind: Literal["study_waiting"] = "study_waiting"
    why: str
    """Why no worker can run it, in one line."""
    labels: Mapping[str, str] = Field(default_factory=dict)
    """Labels that a worker must have."""


class StudyFinished(BaseEvent):
    """The run has ended and released the study."""

    kind: Literal["study_finished"] = "study_finished"
    state: str
    """``done``, ``stopped``, ``interrupted`` or ``failed``."""
    why: str = ""
    """Why the run ended, in one line."""
    ending: str = ""
    """What the trials show: a value of :class:`autotuner.tuning.ending.Ending`."""
    environment_fault: bool | None = None
    """For a failed run, whether the machine, the target or the store was at fault; null otherwise."""


class UnknownEvent(BaseEvent):
    """A stored row that this version cannot read. Readers skip it."""

    data: Mapping[str, object] = Field(default_factory=dict)
    """The row's data as stored."""
    why: str
    """Why it cannot be read, in one line."""

    def payload(self) -> dict[str, object]:
        """The row's data as stored."""
        return dict(self.data)


Event = Annotated[
    StudyStarted
    | WorldLearned
    | TrialProposed
    | PhaseEntered
    | WindowProgress
    | TrialFinished
    | Notice
    | StudyWaiting
    | StudyFinished,
    Field(discriminator="kind"),
]
"""Every event that this version writes."""

KINDS: tuple[type[BaseEvent], ...] = (
    StudyStarted,
    WorldLearned,
    TrialProposed,
    PhaseEntered,
    WindowProgress,
    TrialFinished,
    Notice,
    StudyWaiting,
    StudyFinished,
)
"""The classes of :data:`Event`, in the usual order of a study."""


@cache
def _adapter() -> TypeAdapter[Event]:
    """Built on first use, since commands that only read results do not need it."""
    return TypeAdapter(Event)


def parse(record: EventRecord) -> Event | UnknownEvent:
    """The typed event of a stored row.

    A row of an unknown kind or with invalid fields becomes an :class:`UnknownEvent` with the reason, so that the rest
    of the stream remains readable.
    """
    place = {name: getattr(record, name) for name in _PLACE}
    try:
        return _adapter().validate_python({**record.data, **place})
    except ValidationError as error:
        return UnknownEvent(**place, data=record.data, why=_reason(record.kind, error))


def _reason(kind: str, error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "union_tag_invalid":
        return f"unknown kind of event: {kind}"
    where = ".".join(str(part) for part in first["loc"][1:])  # the first part is the union's tag
    return f"cannot read {kind}: {where}: {first['msg']}" if where else f"cannot read {kind}: {first['msg']}"
