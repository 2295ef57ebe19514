"""Lags of the load generator, in virtual time."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.processes.lags import ClientLags, ClientLimits, Lags
from autotuner.benchmarks.loadgen.processes.load_events import merged_quantile
from autotuner.benchmarks.loadgen.window_end import Observations, WindowGoal

S = 1_000_000_000
LAGS = st.lists(st.one_of(st.floats(0, 0.009), st.floats(0.011, 0.1)), max_size=400)
AIM = WindowGoal(duration=1.0, longest=3.0, fewest=8, wanted=0)


def load(*hiccups: tuple[float, float]) -> tuple[Observations, ClientLags]:
    """Three seconds of a steady load, whose load generator is late (seconds) at some moments (seconds)."""
    observed = Observations()
    lags = ClientLags(ClientLimits())
    for tick in range(1, 301):
        at = tick / 100
        observed.tick(at, 3 * tick)
        late = sum(lag for moment, lag in hiccups if abs(moment - at) < 0.004)
        lags.loop.add(round(at * S), late)
        if not tick % 3:
            observed.ended(at, 0.05)
    return observed, lags


def window(observed: Observations, lags: ClientLags, aim: WindowGoal = AIM) -> tuple[float, float]:
    """Start and end of the window, as it is decided at the end of each step."""
    now = aim.duration
    while True:
        seen = round(now * 100)
        known = Observations(
            observed.ticks[: seen + 1],
            observed.chunks[: seen + 1],
            observed.ends[: seen // 3],
            observed.ttfts[: seen // 3],
        )
        until = ClientLags(lags.limits)
        for at, lag in zip(observed.ticks[1 : seen + 1], lags.loop.since(0), strict=False):
            until.loop.add(round(at * S), lag)

        def spoiled(start: float, until: ClientLags = until, known: Observations = known) -> bool:
            return until.exceed(round(start * S), known.latency(start))

        begin = aim.begin(known, now, spoiled)
        if begin is not None:
            return begin, now
        now = min(aim.longest, now + aim.step)


def test_one_hiccup_is_diluted_by_a_longer_window() -> None:
    assert window(*load()) == (0.0, 1.0)
    assert window(*load((0.3, 0.029))) == (0.0, 1.25), "1 of 125 moments is below the p99"
    assert window(*load((0.3, 0.009))) == (0.0, 1.0), "as much is tolerated"


def test_several_hiccups_are_left_out_with_the_start_that_contains_them() -> None:
    assert window(*load((0.1, 0.02), (0.2, 0.02), (0.3, 0.02))) == (0.25, 1.25), "one of 101 moments is left"
    assert window(*load((0.1, 0.02), (0.3, 0.02), (0.4, 0.02))) == (0.5, 1.5)


def test_a_load_generator_that_lags_all_the_time_is_measured_to_the_end() -> None:
    assert window(*load(*((n / 10, 0.02) for n in range(1, 30)))) == (0.0, 3.0)


def test_a_pinned_length_is_kept() -> None:
    pinned = WindowGoal(duration=1.0, longest=1.0, fewest=8, wanted=0)
    assert window(*load((0.3, 0.029)), pinned) == (0.0, 1.0)


def test_few_requests_do_not_hide_a_hiccup() -> None:
    observed, lags = load((0.3, 0.029))
    few = Observations(observed.ticks, observed.chunks, [0.5, 0.9, 1.1, 1.2], [0.05] * 4)
    aim = WindowGoal(duration=1.0, longest=3.0, fewest=2, wanted=0)

    def spoiled(start: float) -> bool:
        return lags.exceed(round(start * S), few.latency(start))

    assert aim.begin(few, 1.0, lambda start: start < 0.3) is None
    assert aim.begin(few, 3.0, spoiled) == 0.0, "1 of 300 moments"


@given(LAGS, st.integers(0, 400))
def test_lags_exceed_a_limit_as_their_p99_does(values: list[float], begin: int) -> None:
    lags = Lags(0.01)
    for at, lag in enumerate(values):
        lags.add(at, lag)
    since = lags.since(begin)
    assert since == values[begin:]
    assert lags.exceed(begin, 0.01) == (merged_quantile([since], 0.99) > 0.01)
    if since and float(np.percentile(since, 99)) > 0.01:
        assert lags.exceed(begin, 0.01), "nor is an interpolated p99 missed"


def test_requests_in_flight_count_by_when_they_were_sent() -> None:
    late = Request(0, b"", 1, 1, keep_text=False)
    late.scheduled_ns = 5 * S
    late.sent_ns = 5 * S + S // 20
    lags = ClientLags(ClientLimits())
    assert lags.exceed(4 * S, None, [late])
    assert not lags.exceed(6 * S, None, [late])
    assert not lags.exceed(4 * S, 0.6, [late]), "50 ms do not matter for 600 ms"
    late.connect_ns = S // 20
    assert not lags.exceed(4 * S, None, [late]), "connecting is not lag"
