"""How a server is measured: one scenario at one load level."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel

from autotuner.plugins.deployer import Deployer, Endpoint
from autotuner.study.check import Check
from autotuner.study.launch import Labels
from autotuner.study.measurement import Measurement
from autotuner.study.objective import SLO, Objective
from autotuner.study.spec import Model, StudySpec
from autotuner.study.workload import LoadLevel, Scenario, Workload


@dataclass(frozen=True)
class Progress:
    """What a running window has seen so far."""

    elapsed_s: float
    total_s: float
    completed: int
    failed: int
    output_throughput: float
    """tokens/s since the window began."""


@dataclass(frozen=True)
class Window:
    """One window to measure."""

    scenario: Scenario
    level: LoadLevel
    workload: Workload
    labels: Labels
    folder: Path
    """The trial's folder; request records go here, under ``records_name``."""
    records_name: str
    slos: Sequence[SLO] = ()
    """Per-request SLOs define goodput."""
    objectives: Sequence[Objective] = ()
    """What the window must be long enough for, together with the SLOs."""
    headers: Mapping[str, str] | None = None
    """Extra request headers (credentials); never logged or stored."""
    on_progress: Callable[[Progress], None] = lambda _: None


class Benchmark(ABC):
    """Loads an endpoint and sums up what came back. Constructed with ``Benchmark(settings)``."""

    kind: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]

    def __init__(self, settings: BaseModel) -> None:
        self.settings = settings

    @abstractmethod
    async def measure(self, endpoint: Endpoint, window: Window) -> Measurement:
        """Runs one window; the server stays up between windows. Raises ``TrialFailedError`` when nothing usable came
        back (``benchmark_failed``). Failing requests are part of the Measurement, never an exception."""

    def for_study(self, spec: StudySpec, model: Model) -> "Benchmark":
        """This benchmark as the study needs it; ``model`` is as the target finds it. Called once, before the preflight.
        Raises ``UsageError`` where it cannot measure what the study asks for."""
        return self

    @abstractmethod
    async def preflight(self, workload: Workload) -> list[Check]:
        """What must be well before the first trial (tokenizer and dataset files readable, tool installed)."""


@runtime_checkable
class NeedsDeployer(Protocol):
    """A benchmark that measures the servers of some deployers only."""

    def for_deployer(self, deployer: Deployer) -> Benchmark:
        """This benchmark for the servers of one deployer. Raises ``UsageError`` where it cannot measure them."""


class LoadPolicy(ABC):
    """Which load level comes next on the live server."""

    @abstractmethod
    def next(self, measurements: Sequence[Measurement]) -> LoadLevel | None:
        """The next level given those measured so far for this scenario; None: enough."""


class FixedLevels(LoadPolicy):
    """The levels of the study file, in order."""

    def __init__(self, levels: Sequence[LoadLevel]) -> None:
        self._levels = tuple(levels)

    def next(self, measurements: Sequence[Measurement]) -> LoadLevel | None:
        """The level after the last measured one."""
        done = len(measurements)
        return self._levels[done] if done < len(self._levels) else None
