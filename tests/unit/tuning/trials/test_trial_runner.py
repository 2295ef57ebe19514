"""One trial: phases, windows, verdict, limits, and what is released on every path."""

import re
from typing import Any

import anyio
import pytest

from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.study.failure import FailureCause
from autotuner.study.measurement import Measurement
from autotuner.study.trial import TrialState
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.testing.fake_deployer import Behavior, FakeDeployer
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings
from support.trial_runs import EIGHT, measure_forever, no_leases_are_left

__all__ = ["no_leases_are_left"]


pytestmark = pytest.mark.anyio


class GpuEngine(FakeEngine):
    """Uses a GPU for each slot."""

    def gpus(self, values: Any) -> int:
        return int(values.get("parallel", 1))


async def test_successful_trial(loop: Any) -> None:
    deployer = FakeDeployer()
    prepared = loop.prepared(loop.spec(levels=2), deployer=deployer)
    trial = await loop.trial(prepared, EIGHT)
    assert (trial.state, trial.failure) == (TrialState.DONE, None)
    assert trial.verdict is not None
    assert (trial.verdict.feasible, trial.verdict.objectives) == (True, (pytest.approx(100.0),))
    assert "--parallel=8" in trial.argv
    assert trial.identity is not None
    assert [m.level.text for m in trial.measurements] == ["concurrency=1", "concurrency=2"]
    assert loop.phases() == [
        "launching",
        "launching",
        "loading",
        "ready",
        "warming",
        "measuring",
        "warming",
        "measuring",
        "scoring",
        "releasing",
        "done",
    ]
    assert set(trial.phases) == {"queued", *loop.phases()} - {"done"}
    assert trial.started_at is not None
    assert trial.finished_at is not None
    assert len(deployer.released) == 1
    assert deployer.live == []


async def test_windows_do_not_share_records(loop: Any) -> None:
    prepared = loop.prepared(loop.spec(levels=3))
    trial = await loop.trial(prepared)
    names = [m.records for m in trial.measurements]
    assert len(set(names)) == 3
    assert {w.folder for w in prepared.benchmark.windows} == {loop.folder / "0"}


async def test_errors_make_a_configuration_infeasible(loop: Any) -> None:
    prepared = loop.prepared(script=lambda _, window: scripted_measurement(window, rate=1e9, failed=5))
    trial = await loop.trial(prepared)
    assert trial.verdict is not None
    assert (trial.state, trial.verdict.feasible) == (TrialState.DONE, False)


async def test_trial_timeout(loop: Any) -> None:
    deployer = FakeDeployer()
    trial = await loop.trial(loop.prepared(loop.spec(trial_timeout_s=0.2), deployer=deployer, script=measure_forever))
    assert trial.failure is not None
    assert (trial.state, trial.failure.cause) == (TrialState.FAILED, FailureCause.TRIAL_TIMEOUT)
    assert "0.2 s" in trial.failure.message
    assert deployer.live == []


@pytest.mark.parametrize("limit", [None, 60.0])
async def test_other_timeouts_pass_through(loop: Any, limit: float | None) -> None:
    """They are defects of the benchmark, not of the configuration."""

    def script(_: Endpoint, __: Window) -> Measurement:
        raise TimeoutError("a socket's")

    with pytest.raises(TimeoutError, match="a socket's"):
        await loop.trial(loop.prepared(loop.spec(trial_timeout_s=limit), script=script))


@pytest.mark.parametrize("phase", ["loading", "measuring"])
async def test_cancellation_releases_server_and_leases(loop: Any, phase: str) -> None:
    deployer = FakeDeployer(behavior=lambda _: Behavior(ready_after_s=60.0 if phase == "loading" else 0.0))
    engine = GpuEngine(FakeEngineSettings())
    prepared = loop.prepared(deployer=deployer, engine=engine, script=measure_forever, gpus=8)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(loop.trial, prepared, EIGHT)
        with anyio.fail_after(30):
            while phase not in loop.phases():  # noqa: ASYNC110 - phases can only be looked at
                await anyio.sleep(0.01)
        assert len(loop.store.leases.all()) == 9, "eight GPUs and a port"
        tasks.cancel_scope.cancel()
    assert len(deployer.released) == 1
    assert deployer.live == []
    assert loop.store.leases.all() == []
    assert "done" not in loop.phases()


async def test_wait_for_gpus_is_not_charged(loop: Any) -> None:
    """Another run holds the GPU for longer than a trial may take."""
    other = {"owner_id": "other", "study": "t", "trial": 0, "now": 1.0, "dead": ()}
    async with anyio.create_task_group() as tasks:
        prepared = loop.prepared(loop.spec(trial_timeout_s=1.0), engine=GpuEngine(FakeEngineSettings()), gpus=1)
        await loop.trial(prepared)
        assert loop.store.leases.take(["gpu:GPU-fake-0"], **other)

        async def give_back() -> None:
            await anyio.sleep(1.3)
            loop.store.leases.release("gpu:GPU-fake-0", "other")

        tasks.start_soon(give_back)
        trial = await loop.trial(prepared, number=1)
    assert (trial.state, trial.failure) == (TrialState.DONE, None)
    assert trial.gpus == 1
    assert trial.started_at is not None
    assert trial.finished_at - trial.started_at < trial.phases["queued"]


@pytest.mark.parametrize(("ready_after_s", "state"), [(0.0, TrialState.DONE), (60.0, TrialState.FAILED)])
async def test_wait_in_the_queue_of_the_target_is_not_charged(
    loop: Any, ready_after_s: float, state: TrialState
) -> None:
    """The clock of ``trial_timeout`` pauses in the queue and runs again after it."""
    deployer = FakeDeployer(behavior=lambda _: Behavior(queued_s=1.0, ready_after_s=ready_after_s))
    with anyio.fail_after(30):
        trial = await loop.trial(loop.prepared(loop.spec(trial_timeout_s=0.5), deployer=deployer))
    assert trial.state is state
    assert state is TrialState.DONE or trial.failure.cause is FailureCause.TRIAL_TIMEOUT
    assert trial.phases["queued"] >= 1.0
    assert trial.finished_at - trial.started_at < trial.phases["queued"]


async def test_too_few_gpus_fail_at_once(loop: Any) -> None:
    trial = await loop.trial(loop.prepared(engine=GpuEngine(FakeEngineSettings()), gpus=4), EIGHT)
    assert trial.failure is not None
    assert (trial.state, trial.failure.cause) == (TrialState.VOID, FailureCause.GPU_UNAVAILABLE)
    assert re.findall(r"\d+", trial.failure.message) == ["8", "4"]
