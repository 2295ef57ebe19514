"""Proof that a trial measures the server that it planned: flags, variables, identity."""

from typing import Any

import pytest

from autotuner.study.base import Value
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.failure import Blame, FailureCause
from autotuner.study.launch import LaunchPlan
from autotuner.study.trial import TrialState
from autotuner.testing.fake_deployer import Behavior, FakeDeployer
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings
from support.trial_runs import EIGHT, deployer_of, no_leases_are_left

__all__ = ["no_leases_are_left"]


pytestmark = pytest.mark.anyio


class ListenEngine(FakeEngine):
    """An engine with other names for the flags of its address."""

    def plan(self, *args: Any) -> LaunchPlan:
        return super().plan(*args).replaced(host_flag="--listen-host", port_flag="--listen-port")


@pytest.mark.parametrize(
    "argv",
    [
        ("python", "-m", "server", "--model=m"),
        ("python", "-m", "server", "--model=m", "--parallel=4"),
        ("python", "-m", "server", "--model=m", "--parallel=8", "--parallel=4"),
        ("python", "-m", "server", "--model=m", "--note=--parallel=8"),
        ("python",),
    ],
)
async def test_tuned_value_missing_from_the_process(loop: Any, argv: tuple[str, ...]) -> None:
    """This is a defect of the tuner: nothing is measured, and the message has the requested and the actual value."""
    prepared = loop.prepared(deployer=deployer_of(argv=argv))
    trial = await loop.trial(prepared, EIGHT)
    assert trial.failure is not None
    assert (trial.state, trial.failure.cause) == (TrialState.VOID, FailureCause.VALUE_NOT_APPLIED)
    assert trial.failure.blame is Blame.TUNER
    assert "parallel=8 " in trial.failure.message
    assert not prepared.benchmark.windows


@pytest.mark.parametrize(
    ("requested", "seen", "cause"),
    [
        ("2", {"OMP_NUM_THREADS": "2"}, None),
        (2, {"OMP_NUM_THREADS": "2"}, None),
        (None, {}, None),
        ("2", {"OMP_NUM_THREADS": "4"}, FailureCause.VALUE_NOT_APPLIED),
        ("2", {}, FailureCause.VALUE_NOT_APPLIED),
        (None, {"OMP_NUM_THREADS": "4"}, FailureCause.VALUE_NOT_APPLIED),
    ],
)
async def test_tuned_variable_is_checked_in_the_environment_of_the_server(
    loop: Any, requested: Value, seen: dict[str, str], cause: FailureCause | None
) -> None:
    prepared = loop.prepared(deployer=deployer_of(environment=seen))
    trial = await loop.trial(prepared, Configuration(values={"env.OMP_NUM_THREADS": requested}))
    assert (trial.failure.cause if trial.failure else None) == cause
    assert len(prepared.benchmark.windows) == (0 if cause else 1)


async def test_values_are_found_under_any_spelling(loop: Any) -> None:
    deployer = deployer_of(argv=("python", "-m", "server", "-np", "8"))
    assert (await loop.trial(loop.prepared(deployer=deployer), EIGHT)).state is TrialState.DONE


async def test_start_command_has_no_address_flags(loop: Any) -> None:
    prepared = loop.prepared(engine=ListenEngine(FakeEngineSettings()))
    trial = await loop.trial(prepared, EIGHT)
    assert {"--listen-host", "--listen-port"} <= set(trial.argv)
    assert trial.start_command == tuple(prepared.launch(EIGHT).argv(host="", port=0)[:-4])


async def test_measurement_of_another_server_is_void(loop: Any) -> None:
    trial = await loop.trial(loop.prepared(deployer=deployer_of(changes_identity=True)))
    assert (trial.state, trial.verdict, trial.measurements) == (TrialState.VOID, None, ())
    assert trial.failure is not None
    assert trial.failure.cause is FailureCause.IDENTITY_CHANGED


async def test_fixed_arguments_hold_and_tuned_values_override_them(loop: Any) -> None:
    seen: list[LaunchPlan] = []

    def behave(plan: LaunchPlan) -> Behavior:
        seen.append(plan)
        return Behavior()

    spec = loop.spec()
    spec = spec.model_copy(update={"engine": spec.engine.model_copy(update={"args": {"np": 2, "note": "fixed"}})})
    for number, configuration in enumerate((DEFAULT, EIGHT)):
        trial = await loop.trial(
            loop.prepared(spec, deployer=FakeDeployer(behavior=behave)), configuration, number=number
        )
        assert trial.state is TrialState.DONE
    flags = [[f.name for f in plan.flags] for plan in seen]
    assert flags[0] == ["--model=m", "--parallel=2", "--note=fixed"]
    assert flags[1] == ["--model=m", "--parallel=8", "--note=fixed"]
