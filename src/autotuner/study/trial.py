"""Trials: a configuration launched and measured once."""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from autotuner.study.base import FrozenModel, Value
from autotuner.study.capacity.result import CapacityResult
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure
from autotuner.study.launch import Identity, without_flags
from autotuner.study.measurement import Measurement
from autotuner.study.quality.result import QualityResult
from autotuner.study.search.cut import Cut
from autotuner.study.search.rationale import Rationale
from autotuner.study.verdict import Verdict


class TrialRole(StrEnum):
    """The purpose of a trial."""

    DEFAULT = "default"
    SEARCH = "search"
    CONFIRM = "confirm"
    """An interleaved repeat of the default or a challenger; the search does not learn from it."""


class TrialState(StrEnum):
    """State of a trial. ``done``, ``failed`` and ``void`` are final; only the first two are results."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """The configuration cannot work; see ``failure``."""
    VOID = "void"
    """Environment fault, cancellation or death of the owner; repeated under a new number."""

    @property
    def finished(self) -> bool:
        """Whether the trial has a result that counts."""
        return self in {TrialState.DONE, TrialState.FAILED}

    @property
    def open(self) -> bool:
        """Whether the trial has not ended."""
        return self in {TrialState.QUEUED, TrialState.RUNNING}


class Phase(StrEnum):
    """What a running trial is doing; part of its events."""

    QUEUED = "queued"
    PULLING = "pulling"
    """A container image is being pulled."""
    LAUNCHING = "launching"
    ACCEPTED = "accepted"
    """An operator has accepted the object and created what starts the server."""
    SCHEDULED = "scheduled"
    """The server's pod is on a node, which prepares image and volumes."""
    LOADING = "loading"
    READY = "ready"
    WARMING = "warming"
    MEASURING = "measuring"
    CHECKING = "checking"
    """Asking for the answers of the quality check."""
    SCORING = "scoring"
    RELEASING = "releasing"
    DONE = "done"


class Trial(FrozenModel):
    """One configuration launched and measured once. Times are seconds since the epoch."""

    study: str
    number: int
    role: TrialRole
    configuration: Configuration
    flags: Mapping[str, Value] | None = None
    """Flags and variables that the launch set, by the engine's own names, if the configuration names one of several
    engines, or combinations, whose flags may be edited later. None: the configuration's own values, as in all studies
    of earlier versions."""
    engine_default: bool = False
    """Whether it launches the default of an engine other than the baseline, which the proof always includes."""
    state: TrialState = TrialState.QUEUED
    repeat_of: int | None = None
    """Number of the trial that this one repeats, if it is a confirmation."""
    block: int | None = None
    """Block of the proof that it belongs to, from 1, if it is a confirmation. Trials of the same block are compared in
    pairs. None in studies of earlier versions."""
    looks: tuple[Measurement, ...] = ()
    """Short windows before the full ones, which only decided whether these were worth their time. Never ranked."""
    measurements: tuple[Measurement, ...] = ()
    capacities: tuple[CapacityResult, ...] = ()
    """Levels and bracket of each scenario's capacity search."""
    cut: Cut | None = None
    """Why it ended before all of its levels were measured; None if it did not."""
    verdict: Verdict | None = None
    failure: Failure | None = None
    set_aside: str = ""
    """Why a result is currently ``void``: its configuration is no longer in the study, or the goals by which it was cut
    have changed. It counts again once the edit is undone."""
    argv: tuple[str, ...] = ()
    """Command line of the process, container or pod, read from it while it ran; see ``server_of``."""
    address_flags: tuple[str, ...] = ("--host", "--port")
    """Flags in ``argv`` for the server's address, each with one value."""
    command: tuple[str, ...] = ()
    """Command that starts this server, if that is not ``argv`` (a container)."""
    identity: Identity | None = None
    server_of: int | None = None
    """Number of the trial that launched the server, if this one only changed flags of it while it ran, which ``argv``
    has as the server reported them; None if it launched its own."""
    resolved: Mapping[str, object] = Field(default_factory=dict)
    """Settings that the server chose itself at start."""
    phases: Mapping[str, float] = Field(default_factory=dict)
    """Seconds spent in each phase."""
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    gpus: int = 0
    usd_per_hour: float | None = None
    """Price of the trial's GPUs, or of the host if the server uses none; None if the study has no such price."""
    quality: QualityResult | None = None
    """Its answers compared with the default's; None if they were not checked."""
    rationale: Rationale | None = None
    """Why the search proposed the configuration; None if its strategy gives no reason."""

    @property
    def launched(self) -> Configuration:
        """The flags and variables that the launch set, by canonical name."""
        return self.configuration if self.flags is None else Configuration(values=self.flags)

    @property
    def launched_by(self) -> int:
        """Number of the trial that launched its server: usually itself."""
        return self.number if self.server_of is None else self.server_of

    @property
    def start_command(self) -> tuple[str, ...]:
        """Command that starts this server again, without the trial's own address."""
        return self.command or without_flags(self.argv, self.address_flags)

    @property
    def meets_slos(self) -> bool | None:
        """Whether it meets every hard SLO. None if that is open: it is not done, left levels out, may not be ranked, or
        may have missed SLOs because of the load generator."""
        if self.verdict is None or self.state is not TrialState.DONE:
            return None
        if not self.verdict.feasible:
            return None if self.verdict.doubtful else False
        return None if self.cut is not None or not self.verdict.rankable else True

    @property
    def simulated(self) -> bool:
        """Whether the server declared its numbers simulated; every output must say so."""
        return self.resolved.get("simulated") is True
