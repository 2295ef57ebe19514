"""Runs of a study whose file changes in between."""

from typing import Any

from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.store import Store
from autotuner.study.measurement import Measurement
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.testing.fake_deployer import FakeDeployer
from autotuner.tuning.study_session import run_session

RATES = {"default": 100.0, "1": 90.0, "2": 150.0, "8": 300.0, "16": 200.0}
"""Requests per second by the value of ``--parallel``."""


def by_slots(endpoint: Endpoint, window: Window) -> Measurement:
    """What a launch measures."""
    flag = next((a.partition("=")[2] for a in endpoint.argv if a.startswith("--parallel=")), "default")
    return scripted_measurement(window, rate=RATES[flag])


def slots(*values: Any) -> tuple[Parameter, ...]:
    """The parameters of a study that tunes ``--parallel``."""
    return (Parameter(name="parallel", domain=Choices(values=values)),)


async def run(loop: Any, store: Store, **changes: Any) -> tuple[list[str], list[Trial]]:
    """Launches of a run of the changed study, and all trials after it."""
    deployer = FakeDeployer()
    spec: StudySpec = loop.spec(trials=20).model_copy(update=changes)
    outcome = await run_session(loop.prepared(spec, deployer=deployer, script=by_slots), store, source="t")
    launched = [next((a for a in plan.argv(host="", port=1) if "parallel" in a), "") for _, plan in deployer.deployed]
    return launched, list(outcome.trials)
