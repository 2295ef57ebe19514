"""Interfaces of benchmarks, which measure a server: one scenario at one load level at a time."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel

from autotuner.plugins.deployer import Deployer, Endpoint
from autotuner.plugins.server_metrics import MetricsSource
from autotuner.study.capacity.level_test import LevelPlan
from autotuner.study.check import Check
from autotuner.study.launch import Labels
from autotuner.study.measurement import Measurement
from autotuner.study.objective import SLO, Objective
from autotuner.study.spec import Model, StudySpec
from autotuner.study.workload import LoadLevel, Scenario, Workload


@dataclass(frozen=True)
class Progress:
    """State of a running window."""

    elapsed_s: float
    total_s: float
    completed: int
    failed: int
    output_throughput: float | None
    """Tokens per second since the window began."""


@dataclass(frozen=True)
class Window:
    """One window to measure."""

    scenario: Scenario
    level: LoadLevel
    workload: Workload
    labels: Labels
    folder: Path
    """The trial's folder, into which request records are written under ``records_name``."""
    records_name: str
    slos: Sequence[SLO] = ()
    """The study's SLOs. Those on each request define goodput."""
    objectives: Sequence[Objective] = ()
    """The study's objectives. The window must be long enough for their statistics and those of the SLOs."""
    headers: Mapping[str, str] | None = None
    """Additional request headers (credentials); must not be logged or stored."""
    on_progress: Callable[[Progress], None] = lambda _: None
    server_metrics: Sequence[MetricsSource] = ()
    """Where the server's Prometheus metrics are, for the engines that it may be; empty: they are not read."""
    test: LevelPlan | None = None
    """The window ends as soon as these bounds are decided; None for a window of the workload's own length."""


class Benchmark(ABC):
    """A load generator and the statistics of its requests, constructed with ``Benchmark(settings)``."""

    kind: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]
    tests_levels: ClassVar[bool] = False
    """Whether a window ends as soon as the test of its level (``Window.test``) is decided."""

    short_windows: ClassVar[bool] = False
    """Whether a window of a few seconds takes no longer than that, so that a look at a server costs little."""

    def __init__(self, settings: BaseModel) -> None:
        self.settings = settings

    @abstractmethod
    async def measure(self, endpoint: Endpoint, window: Window) -> Measurement:
        """Measures one window; the server stays up between windows.

        Failed requests are part of the measurement and never an exception.

        Raises:
            TrialFailedError: With cause ``benchmark_failed``, if there is no usable result.
        """

    def for_study(self, spec: StudySpec, model: Model) -> "Benchmark":
        """This benchmark for one study; called once, before the preflight.

        Args:
            spec: The study.
            model: The study's model as servers on the target find it.

        Raises:
            UsageError: If it cannot measure what the study requires.
        """
        return self

    @abstractmethod
    async def preflight(self, workload: Workload) -> list[Check]:
        """Checks before the first trial: readable tokenizer and dataset files, an installed tool."""


@runtime_checkable
class NeedsDeployer(Protocol):
    """A benchmark that can only measure the servers of some deployers."""

    def for_deployer(self, deployer: Deployer) -> Benchmark:
        """This benchmark for the servers of one deployer. Raises ``UsageError`` if it cannot measure them."""


class LoadPolicy(ABC):
    """Chooses the load levels to measure while the server runs."""

    @abstractmethod
    def next(self, measurements: Sequence[Measurement]) -> LoadLevel | None:
        """The next level, given this scenario's measurements so far; None if there is none."""


class FixedLevels(LoadPolicy):
    """The levels of the study file, in order."""

    def __init__(self, levels: Sequence[LoadLevel]) -> None:
        self._levels = tuple(levels)

    def next(self, measurements: Sequence[Measurement]) -> LoadLevel | None:
        """The level after the last measured one; None after the last of all."""
        done = len(measurements)
        return self._levels[done] if done < len(self._levels) else None
