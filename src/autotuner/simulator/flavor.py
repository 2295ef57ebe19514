"""What differs between the engines beside starting and batching: lines of the log, endpoints, errors, metrics."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from autotuner.simulator.config import EngineConfig, Log
from autotuner.simulator.engine_loop import EngineLoop
from autotuner.simulator.metrics import Latencies, sample
from autotuner.simulator.openai_api import Asked, BadRequestError
from autotuner.simulator.options import Simulation
from autotuner.simulator.scheduler import Counters, Scheduler, Step


class Flavor(ABC):
    """One engine's face."""

    name: str
    version: str

    def __init__(self, simulation: Simulation, log: Log) -> None:
        self.simulation = simulation
        self.log = log
        self.latencies = Latencies()
        self.started = time.time()

    @abstractmethod
    def start(self, given: Mapping[str, Any]) -> EngineConfig:
        """Decides everything, as the engine does at start. Raises ``EngineExitError``."""

    @abstractmethod
    def scheduler(self, config: EngineConfig) -> Scheduler:
        """One replica's scheduler."""

    @abstractmethod
    def ready(self, config: EngineConfig) -> None:
        """Logs that the server answers."""

    @abstractmethod
    def on_step(self, loop: EngineLoop, step: Step) -> None:
        """Logs a step as the engine does."""

    @abstractmethod
    def limited(self, asked: Asked, config: EngineConfig) -> int:
        """Tokens that the answer may have. Raises :class:`BadRequestError` as the engine refuses."""

    @abstractmethod
    def error(self, error: BadRequestError) -> dict[str, Any]:
        """An error's body."""

    @abstractmethod
    def info(self, path: str, config: EngineConfig, loops: Sequence[EngineLoop]) -> dict[str, Any] | None:
        """The answer of an information endpoint; None: there is no such one."""

    @abstractmethod
    def metrics(self, config: EngineConfig, loops: Sequence[EngineLoop]) -> str | None:
        """Prometheus text; None: the endpoint is off."""

    def models(self, config: EngineConfig) -> dict[str, Any]:
        """The answer of ``/v1/models``."""
        model = {
            "id": config.served_name,
            "object": "model",
            "created": int(self.started),
            "owned_by": self.name,
            "root": config.model_path,
            "max_model_len": config.context,
        }
        return {"object": "list", "data": [model]}

    def simulated_lines(self, loops: Sequence[EngineLoop]) -> list[str]:
        """Metrics that say what this is."""
        labels = {"flavor": self.name, "gpu": self.simulation.gpu}
        slipped = sum(loop.slipped_s for loop in loops)
        return [
            *sample("autotuner_simulated", 1, {}),
            *sample("autotuner_simulated_speed", self.simulation.speed, labels),
            *sample("autotuner_simulated_slipped_seconds_total", slipped, labels, "counter"),
        ]


def summed(loops: Sequence[EngineLoop]) -> Counters:
    """The counters of all replicas."""
    total = Counters()
    for loop in loops:
        for name, value in vars(loop.scheduler.counters).items():
            setattr(total, name, getattr(total, name) + value)
    return total


def stamp(form: str) -> str:
    """The time of a log line."""
    return time.strftime(form)


def process_id() -> int:
    """Of this server."""
    return os.getpid()
