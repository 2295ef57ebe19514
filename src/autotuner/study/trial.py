"""One configuration launched and measured once."""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from autotuner.study.base import Noun
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure
from autotuner.study.launch import Identity, without_flags
from autotuner.study.measurement import Measurement
from autotuner.study.verdict import Verdict


class TrialRole(StrEnum):
    """Why a trial was made."""

    DEFAULT = "default"
    SEARCH = "search"
    CONFIRM = "confirm"
    """An interleaved repeat of the default or the winner; never told to the search."""


class TrialState(StrEnum):
    """Where a trial is. ``done`` and ``failed`` are final and are results; ``void`` is final and is none."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """The configuration cannot work; see ``failure``."""
    VOID = "void"
    """Environment fault, cancelled, or its owner died: made again under a new number."""

    @property
    def finished(self) -> bool:
        """A result that counts."""
        return self in {TrialState.DONE, TrialState.FAILED}


class Phase(StrEnum):
    """What a running trial does at the moment; events carry it."""

    QUEUED = "queued"
    PULLING = "pulling"
    """A container's image is fetched."""
    LAUNCHING = "launching"
    ACCEPTED = "accepted"
    """An operator took what it was asked for: it made of it what starts the server."""
    SCHEDULED = "scheduled"
    """A node has the server's pod, and makes image and volumes ready."""
    LOADING = "loading"
    READY = "ready"
    WARMING = "warming"
    MEASURING = "measuring"
    SCORING = "scoring"
    RELEASING = "releasing"
    DONE = "done"


class Trial(Noun):
    """One configuration launched and measured once. Times are seconds since the epoch."""

    study: str
    number: int
    role: TrialRole
    configuration: Configuration
    state: TrialState = TrialState.QUEUED
    repeat_of: int | None = None
    """For confirmations: the number of the trial that is repeated."""
    measurements: tuple[Measurement, ...] = ()
    verdict: Verdict | None = None
    failure: Failure | None = None
    set_aside: str = ""
    """Why a result does not count at the moment, though it was one (``void``): its configuration is not the study's any
    more. It counts again once it is."""
    argv: tuple[str, ...] = ()
    """The command line as the running process, container or pod really had it."""
    address_flags: tuple[str, ...] = ("--host", "--port")
    """Flags in ``argv`` that say where the server listened, each with one value."""
    command: tuple[str, ...] = ()
    """What a person types to start this server, where that is not ``argv`` (a container)."""
    identity: Identity | None = None
    resolved: Mapping[str, object] = Field(default_factory=dict)
    """What the server decided for itself at start."""
    phases: Mapping[str, float] = Field(default_factory=dict)
    """Seconds spent in each phase."""
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    gpus: int = 0

    @property
    def start_command(self) -> tuple[str, ...]:
        """What starts this server again, without the address that was only this trial's."""
        return self.command or without_flags(self.argv, self.address_flags)

    @property
    def simulated(self) -> bool:
        """The server said that its numbers are not real; they must be called simulated wherever they appear."""
        return self.resolved.get("simulated") is True
