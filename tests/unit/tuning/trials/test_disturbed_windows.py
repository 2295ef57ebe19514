"""Windows that other processes or the load generator itself disturbed."""

from typing import Any

import anyio
import pytest

from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.study.failure import FailureCause
from autotuner.study.measurement import Measurement, SelfCheck
from autotuner.study.trial import TrialState
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.tuning.trials.cpu_noise import DISTURBED
from autotuner.tuning.trials.window_repeats import WindowRepeats
from support.trial_runs import no_leases_are_left

__all__ = ["no_leases_are_left"]


pytestmark = pytest.mark.anyio


async def test_limited_load_generator_is_not_ranked(loop: Any) -> None:
    check = SelfCheck(client_limited=True, reasons=("loop lag p99 31 ms",))
    prepared = loop.prepared(script=lambda _, window: scripted_measurement(window, rate=1e9, self_check=check))
    trial = await loop.trial(prepared)
    assert trial.state is TrialState.DONE
    assert trial.verdict is not None
    assert not trial.verdict.rankable
    assert trial.failure is not None
    assert trial.failure.cause is FailureCause.CLIENT_LIMITED
    assert "loop lag p99 31 ms" in trial.failure.message


@pytest.mark.parametrize(
    ("foreign", "windows", "kept", "warned"),
    [
        ((0.1,), 1, 100.0, False),
        ((1.5, 0.1), 2, 101.0, False),
        ((1.5, 0.9), 2, 101.0, True),
        ((0.9, 1.5), 2, 100.0, True),
    ],
)
async def test_disturbed_window_is_measured_again_and_the_quietest_kept(
    loop: Any, foreign: tuple[float, ...], windows: int, kept: float, warned: bool
) -> None:
    made: list[Window] = []

    def script(_: Endpoint, window: Window) -> Measurement:
        made.append(window)
        return scripted_measurement(window, rate=99.0 + len(made), foreign=foreign[len(made) - 1])

    trial = await loop.trial(loop.prepared(script=script))
    assert len(made) == windows == len({w.records_name for w in made})
    (measured,) = trial.measurements
    assert measured.scalars["output_throughput"] == kept
    assert measured.records == made[round(kept - 100)].records_name
    assert any(w.startswith(DISTURBED) and " 2 times " in w for w in measured.warnings) is warned
    assert len(loop.notices()) == windows - 1


async def test_lasting_disturbance_is_not_retried_in_every_window(loop: Any) -> None:
    busy = [2.0] * 20
    made: list[float] = []

    def script(_: Endpoint, window: Window) -> Measurement:
        made.append(busy[len(made)])
        return scripted_measurement(window, foreign=made[-1])

    spec = loop.spec(levels=6)
    trial = await loop.trial(loop.prepared(spec, script=script))
    assert len(made) == 3 * 2 + 3, "three second tries in vain, then one try each"
    assert len(trial.measurements) == 6
    assert all(any(w.startswith(DISTURBED) for w in m.warnings) for m in trial.measurements)
    assert len(loop.notices()) == 3 + 1


async def test_quiet_window_allows_retries_again(loop: Any) -> None:
    script = iter([2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 0.0, 2.0, 0.1])
    taken: list[float] = []

    def measure(_: Endpoint, window: Window) -> Measurement:
        taken.append(next(script))
        return scripted_measurement(window, foreign=taken[-1])

    await loop.trial(loop.prepared(loop.spec(levels=6), script=measure))
    assert taken == [2.0] * 6 + [2.0, 0.0, 2.0, 0.1], "after the quiet one, a disturbed one is measured again"


async def test_unknown_disturbance_is_not_retried(loop: Any) -> None:
    quiet = SelfCheck(foreign_cpu_cores=None)
    prepared = loop.prepared(script=lambda _, window: scripted_measurement(window, self_check=quiet))
    await loop.trial(prepared)
    assert len(prepared.benchmark.windows) == 1


def lagging(lag_s: float = 0.029, *, only_lag: bool = True) -> SelfCheck:
    reason = f"p99 event loop lag of {lag_s * 1000:.1f} ms exceeds 10.0 ms"
    return SelfCheck(loop_lag_p99_s=lag_s, client_limited=True, reasons=(reason,), lagged=only_lag)


KEPT_UP = SelfCheck()


@pytest.mark.parametrize(
    ("checks", "kept", "limited"),
    [
        ([lagging(), KEPT_UP], 1, False),
        ([lagging(), lagging(), KEPT_UP], 2, False),
        ([lagging()] * 3, 0, True),
        ([lagging(only_lag=False)], 0, True),
        ([lagging(), SelfCheck(foreign_cpu_cores=1.0)], 1, False),
    ],
)
async def test_lagging_window_is_measured_again_and_set_aside(
    loop: Any, checks: list[SelfCheck], kept: int, limited: bool
) -> None:
    made: list[Window] = []

    def script(_: Endpoint, window: Window) -> Measurement:
        made.append(window)
        number = len(made) - 1
        return scripted_measurement(window, rate=100.0 - number, requests=50 + number, self_check=checks[number])

    trial = await loop.trial(loop.prepared(script=script))
    assert len(made) == len(checks) == len({w.records_name for w in made})
    (measured,) = trial.measurements
    assert measured.scalars["output_throughput"] == 100.0 - kept, "however good the others look"
    assert measured.records == made[kept].records_name
    assert measured.self_check.client_limited is limited
    others = [number for number in range(len(checks)) if number != kept]
    assert [one.records for one in measured.set_aside] == [made[number].records_name for number in others]
    assert [one.requests for one in measured.set_aside] == [50 + number for number in others]
    assert all("29.0 ms" in one.why for one in measured.set_aside)
    assert trial.verdict is not None
    assert trial.verdict.rankable is not limited
    assert (trial.failure is not None) is limited
    assert len(loop.notices()) == len(checks) - 1


async def test_a_level_whose_repetitions_lag_too_is_no_longer_measured_again(loop: Any) -> None:
    made: list[str] = []
    busy = [True]

    def script(_: Endpoint, window: Window) -> Measurement:
        made.append(window.level.text)
        lags = window.level.text == "concurrency=2" and busy[0]
        return scripted_measurement(window, self_check=lagging() if lags else KEPT_UP)

    repeats = WindowRepeats()
    prepared = loop.prepared(loop.spec(levels=2), script=script)
    for number in range(4):
        await loop.trial(prepared, number=number, repeats=repeats)
    assert [made.count(level) for level in ("concurrency=1", "concurrency=2")] == [4, 3 + 2 + 1 + 1]
    busy[0] = False
    await loop.trial(prepared, number=4, repeats=repeats)
    busy[0] = True
    await loop.trial(prepared, number=5, repeats=repeats)
    assert made.count("concurrency=2") == 7 + 1 + 3, "it was measured without, so a lag may be one of a moment again"


async def test_a_repetition_never_makes_a_trial_run_out_of_time(loop: Any) -> None:
    made: list[Window] = []

    async def script(_: Endpoint, window: Window) -> Measurement:
        made.append(window)
        await anyio.sleep(1.0)
        return scripted_measurement(window, self_check=lagging())

    trial = await loop.trial(loop.prepared(loop.spec(levels=2, trial_timeout_s=2.9), script=script))
    assert len(made) == 2
    assert (trial.state, len(trial.measurements)) == (TrialState.DONE, 2)
