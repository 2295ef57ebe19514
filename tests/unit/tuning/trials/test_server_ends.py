"""Trials whose server does not start, crashes, is ended from outside or does not answer."""

from typing import Any

import pytest

from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.study.failure import Blame, Failure, FailureCause, TrialFailedError
from autotuner.study.measurement import Measurement
from autotuner.study.trial import TrialState
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.testing.fake_deployer import FakeEndpoint
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings
from support.trial_runs import EIGHT, deployer_of, measure_forever, no_leases_are_left

__all__ = ["no_leases_are_left"]


pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("cause", list(FailureCause))
async def test_failed_start(loop: Any, cause: FailureCause) -> None:
    failure = Failure(cause=cause, message="x", exit_code=3, log_tail="tail")
    deployer = deployer_of(fails=failure)
    prepared = loop.prepared(deployer=deployer)
    trial = await loop.trial(prepared, EIGHT)
    expected = TrialState.FAILED if failure.blame is Blame.CONFIGURATION else TrialState.VOID
    assert (trial.state, trial.failure, trial.verdict) == (expected, failure, None)
    assert not prepared.benchmark.windows
    assert len(deployer.released) == 1


async def test_crash_under_load(loop: Any) -> None:
    deployer = deployer_of(dies_after_s=0.05, exit_code=-11, log="segmentation fault")
    trial = await loop.trial(loop.prepared(deployer=deployer, script=measure_forever))
    assert (trial.state, trial.verdict, trial.measurements) == (TrialState.FAILED, None, ())
    assert trial.failure is not None
    assert (trial.failure.cause, trial.failure.exit_code) == (FailureCause.CRASH_UNDER_LOAD, -11)
    assert trial.failure.log_tail == "segmentation fault"
    assert len(deployer.released) == 1


@pytest.mark.parametrize("code", [-9, 137, -15, 143, -2, -1, 0])
async def test_server_ended_from_outside_is_not_to_blame(loop: Any, code: int) -> None:
    """SIGKILL does not prove a lack of memory, and a server that exits with 0 was requested to."""
    deployer = deployer_of(dies_after_s=0.02, exit_code=code, log="all is well")
    trial = await loop.trial(loop.prepared(deployer=deployer, script=measure_forever))
    assert trial.state is TrialState.VOID
    assert trial.failure is not None
    assert (trial.failure.cause, trial.failure.exit_code) == (FailureCause.ENVIRONMENT, code)
    assert trial.failure.log_tail == "all is well"


async def test_crash_after_a_good_window_is_not_a_result(loop: Any) -> None:
    """The fast window before the crash must not win."""

    def script(endpoint: Endpoint, window: Window) -> Measurement:
        assert isinstance(endpoint, FakeEndpoint)
        endpoint.kill()
        return scripted_measurement(window, rate=1e9)

    trial = await loop.trial(loop.prepared(script=script))
    assert (trial.state, trial.verdict) == (TrialState.FAILED, None)
    assert trial.failure is not None
    assert trial.failure.cause is FailureCause.CRASH_UNDER_LOAD


async def test_failed_requests_of_a_dying_server_are_a_crash(loop: Any) -> None:
    deployer = deployer_of(dies_after_s=0.1)
    prepared = loop.prepared(deployer=deployer, script=lambda _, window: scripted_measurement(window, failed=1))
    trial = await loop.trial(prepared)
    assert trial.failure is not None
    assert trial.failure.cause is FailureCause.CRASH_UNDER_LOAD


@pytest.mark.parametrize(
    ("dies", "cause", "state"),
    [
        (0.05, FailureCause.CRASH_UNDER_LOAD, TrialState.FAILED),
        (None, FailureCause.BENCHMARK_FAILED, TrialState.VOID),
    ],
)
async def test_failed_benchmark(loop: Any, dies: float | None, cause: FailureCause, state: TrialState) -> None:
    """The server is to blame if it has died, otherwise the machine."""

    def script(_: Endpoint, __: Window) -> Measurement:
        raise TrialFailedError.because(FailureCause.BENCHMARK_FAILED, "no answer")

    trial = await loop.trial(loop.prepared(deployer=deployer_of(dies_after_s=dies), script=script))
    assert trial.failure is not None
    assert (trial.failure.cause, trial.state) == (cause, state)


@pytest.mark.parametrize(
    ("requests", "foreign", "cause", "figures"),
    [
        (10, 0.0, FailureCause.NOT_ANSWERING, "http_500 x10"),
        (10, 2.0, FailureCause.NOT_ANSWERING, "http_500 x10"),
        (0, 0.0, FailureCause.NOT_ANSWERING, "1 s"),
        (0, 2.0, FailureCause.ENVIRONMENT, "2.00 CPU cores"),
    ],
)
async def test_no_successful_request(
    loop: Any, requests: int, foreign: float, cause: FailureCause, figures: str
) -> None:
    """Failed requests never count as throughput, however fast they are."""
    prepared = loop.prepared(
        deployer=deployer_of(log="CUDA error"),
        script=lambda _, w: scripted_measurement(w, rate=1e9, requests=requests, failed=requests, foreign=foreign),
    )
    trial = await loop.trial(prepared)
    assert trial.failure is not None
    assert (trial.failure.cause, trial.verdict) == (cause, None)
    assert figures in trial.failure.message
    assert trial.failure.log_tail == "CUDA error"


async def test_failure_that_the_engine_cannot_explain(loop: Any) -> None:
    class Silent(FakeEngine):
        def explain(self, exit_code: int | None, log_tail: str, *, ready: bool) -> Failure | None:
            return None

    silent = Silent(FakeEngineSettings())
    deployer = deployer_of(dies_after_s=0.02, exit_code=7, log="bye")
    trial = await loop.trial(loop.prepared(engine=silent, deployer=deployer, script=measure_forever))
    assert trial.failure is not None
    assert (trial.failure.cause, trial.failure.exit_code) == (FailureCause.CRASH_UNDER_LOAD, 7)
