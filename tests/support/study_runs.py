"""Runs of whole studies on doubles, for tests of the study runner."""

from collections.abc import Callable
from typing import Any

from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.store import Store
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.launch import LaunchPlan
from autotuner.study.measurement import Measurement
from autotuner.study.trial import Trial
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.testing.fake_deployer import Behavior
from autotuner.testing.fake_engine import FakeEngine
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.study_session import Outcome, run_session

FAULT = Failure(cause=FailureCause.PORT_UNAVAILABLE, message="the port is taken", remedy="free it")

MEMORY = Failure(cause=FailureCause.OUT_OF_MEMORY, message="too large")


async def run(prepared: Prepared, store: Store) -> Outcome:
    return await run_session(prepared, store, source="test")


def slots(trial: Trial) -> object:
    return trial.configuration.values.get("parallel", "default")


def by_slots(rates: dict[str, float]) -> Callable[[Endpoint, Window], Measurement]:
    """A benchmark whose throughput depends on the server's flag ``--parallel``."""

    def script(endpoint: Endpoint, window: Window) -> Measurement:
        flag = next((a.partition("=")[2] for a in endpoint.argv if a.startswith("--parallel=")), "default")
        return scripted_measurement(window, rate=rates[flag])

    return script


class Behaviors:
    """Failures of the first launches, in order (None: it starts); all later launches succeed."""

    def __init__(self, *fails: Failure | None) -> None:
        self._fails = list(fails)

    def __call__(self, _: LaunchPlan) -> Behavior:
        return Behavior(fails=self._fails.pop(0) if self._fails else None)


class GpuEngine(FakeEngine):
    """An engine that needs one GPU."""

    def gpus(self, values: Any) -> int:
        return 1
