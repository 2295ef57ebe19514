"""Interface of a simulated engine: startup, scheduler, log lines, endpoints, errors and metrics."""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from autotuner.simulator.config import EngineConfig, Log
from autotuner.simulator.engine_loop import EngineLoop
from autotuner.simulator.metrics import Latencies, sample
from autotuner.simulator.openai_api import ApiRequest, BadRequestError
from autotuner.simulator.options import Simulation
from autotuner.simulator.scheduler import Counters, Scheduler, Step


class Flavor(ABC):
    """What is specific to one engine."""

    name: str
    version: str

    def __init__(self, simulation: Simulation, log: Log) -> None:
        self.simulation = simulation
        self.log = log
        self.latencies = Latencies()
        self.started = time.time()

    @abstractmethod
    def start(self, given: Mapping[str, Any]) -> EngineConfig:
        """Resolves the flags to a configuration, as the engine does at startup.

        Raises:
            EngineExitError: The engine refuses the flags or runs out of memory.
        """

    @abstractmethod
    def scheduler(self, config: EngineConfig) -> Scheduler:
        """A scheduler for one replica."""

    @abstractmethod
    def ready(self, config: EngineConfig) -> None:
        """Logs that the server is ready."""

    @abstractmethod
    def on_step(self, loop: EngineLoop, step: Step) -> None:
        """Logs a step as the engine does."""

    @abstractmethod
    def limited(self, request: ApiRequest, config: EngineConfig) -> int:
        """Maximum output tokens of a request.

        Raises:
            BadRequestError: The engine refuses the request.
        """

    @abstractmethod
    def error(self, error: BadRequestError) -> dict[str, Any]:
        """The response body of an error."""

    @abstractmethod
    def info(self, path: str, config: EngineConfig, loops: Sequence[EngineLoop]) -> dict[str, Any] | None:
        """The response of an information endpoint; None if the engine does not have it."""

    def change(self, path: str, body: bytes, loops: Sequence[EngineLoop]) -> object | None:
        """Changes the running server; the response, or None if the engine has no such endpoint."""
        return None

    @abstractmethod
    def metrics(self, config: EngineConfig, loops: Sequence[EngineLoop]) -> str | None:
        """Prometheus text; None if the endpoint is disabled."""

    def models(self, config: EngineConfig) -> dict[str, Any]:
        """The response of ``/v1/models``."""
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
        """Metrics that mark the server as a simulator."""
        labels = {"flavor": self.name, "gpu": self.simulation.gpu}
        slipped = sum(loop.slipped_s for loop in loops)
        return [
            *sample("autotuner_simulated", 1, {}),
            *sample("autotuner_simulated_speed", self.simulation.speed, labels),
            *sample("autotuner_simulated_slipped_seconds_total", slipped, labels, "counter"),
        ]


def summed(loops: Sequence[EngineLoop]) -> Counters:
    """The sum of the counters of all replicas."""
    total = Counters()
    for loop in loops:
        for name, value in vars(loop.scheduler.counters).items():
            setattr(total, name, getattr(total, name) + value)
    return total
