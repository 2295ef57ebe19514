"""When a window may end and what it leaves out, on synthetic loads in virtual time."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.loadgen.window_end import FEWEST, Observations, WindowGoal


def load(*spans: tuple[float, float, float, float]) -> Observations:
    """The progress of a load that consists of consecutive spans (seconds, tokens/s, requests/s, ttft in seconds)."""
    observed = Observations()
    at = 0.0
    chunks = 0.0
    for seconds, tokens, requests, ttft in spans:
        steps = round(seconds / 0.05)
        owed = 0.0
        for step in range(steps):
            chunks += tokens * 0.05
            observed.tick(at + (step + 1) * 0.05, round(chunks))
            owed += requests * 0.05
            while owed >= 1 - 1e-9:
                observed.ended(at + (step + 1) * 0.05, ttft)
                owed -= 1
        at += steps * 0.05
    return observed


def until(observed: Observations, now: float) -> Observations:
    """The progress until a moment."""
    ticks = [(t, c) for t, c in zip(observed.ticks, observed.chunks, strict=True) if t <= now + 1e-9]
    ends = [(e, t) for e, t in zip(observed.ends, observed.ttfts, strict=True) if e <= now + 1e-9]
    return Observations([t for t, _ in ticks], [c for _, c in ticks], [e for e, _ in ends], [t for _, t in ends])


def window(aim: WindowGoal, observed: Observations) -> tuple[float, float]:
    """Start and end of the window for this load."""
    now = aim.duration
    while True:
        begin = aim.begin(until(observed, now), now)
        if begin is not None:
            return begin, now
        now = min(aim.longest, now + aim.step)


AIM = WindowGoal(duration=6.0, longest=18.0, fewest=8, wanted=0)


def test_steady_window_with_enough_requests_is_not_extended() -> None:
    assert window(AIM, load((18, 300, 8, 0.1))) == (0.0, 6.0)


def test_window_is_extended_until_it_has_enough_requests() -> None:
    assert window(AIM, load((18, 300, 1, 0.1))) == (0.0, 9.0)


def test_extension_is_bounded() -> None:
    assert window(AIM, load((18, 300, 0.2, 0.1))) == (0.0, 18.0)


def test_unsettled_start_is_replaced_by_later_load() -> None:
    begin, end = window(AIM, load((5, 20, 2, 2.0), (13, 300, 12, 0.1)))
    assert begin >= 4.5
    assert end <= 12.0
    assert end - begin >= AIM.duration


def test_load_that_never_settles_is_measured_whole() -> None:
    falling = [(1.0, 400 * 0.75**n, 10.0, 0.1 * 1.3**n) for n in range(18)]
    assert window(AIM, load(*falling)) == (0.0, 18.0)


@pytest.mark.parametrize(("rate", "end"), [(10, 10.5), (20, 6.0), (4, 6.0)])
def test_requests_for_a_percentile_are_awaited_if_reachable(rate: float, end: float) -> None:
    aim = WindowGoal(duration=6.0, longest=18.0, fewest=8, wanted=100)
    assert window(aim, load((18, 300, rate, 0.1))) == (0.0, end), "at 4/s, at most 72 of 100 are reachable"


def test_study_may_ask_for_fewer_requests_than_steadiness_needs() -> None:
    aim = WindowGoal(duration=1.0, longest=3.0, fewest=2, wanted=0)
    assert window(aim, load((3, 50, 4, 0.1))) == (0.0, 1.0)


SPANS = st.lists(
    st.tuples(st.floats(0.5, 6), st.floats(0, 500), st.floats(0, 30), st.floats(0.001, 3)), min_size=1, max_size=6
)


@given(SPANS, st.integers(0, 200))
def test_invariants_of_any_load(spans: list[tuple[float, float, float, float]], wanted: int) -> None:
    aim = WindowGoal(duration=2.0, longest=6.0, fewest=8, wanted=wanted)
    observed = load(*spans)
    begin, end = window(aim, observed)
    assert 0 <= begin <= end - aim.duration + 1e-6
    assert end <= aim.longest + 1e-6
    if end < aim.longest:
        known = until(observed, end)
        assert known.finished(begin) >= aim.fewest
        assert known.steady(begin, end)
    if begin > 0:
        assert until(observed, end).steady(begin, end), "the start is left out only in favor of a steady part"


@given(SPANS)
def test_chunks_only_increase(spans: list[tuple[float, float, float, float]]) -> None:
    observed = load(*spans)
    assert all(a <= b for a, b in pairwise(observed.chunks))
    assert not observed.steady(0, 1) or observed.finished(0) >= FEWEST
