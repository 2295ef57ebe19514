"""When a window may end, and what it leaves out: decided over hand-made loads in virtual time."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.loadgen.settling import FEWEST, Aim, Seen


def load(*spans: tuple[float, float, float, float]) -> Seen:
    """What a load would show whose spans (seconds, tokens/s, requests/s, ttft in seconds) follow one another."""
    seen = Seen()
    at = 0.0
    chunks = 0.0
    for seconds, tokens, requests, ttft in spans:
        steps = round(seconds / 0.05)
        owed = 0.0
        for step in range(steps):
            chunks += tokens * 0.05
            seen.tick(at + (step + 1) * 0.05, round(chunks))
            owed += requests * 0.05
            while owed >= 1 - 1e-9:
                seen.ended(at + (step + 1) * 0.05, ttft)
                owed -= 1
        at += steps * 0.05
    return seen


def cut(seen: Seen, now: float) -> Seen:
    """What had been seen by a moment."""
    ticks = [(t, c) for t, c in zip(seen.ticks, seen.chunks, strict=True) if t <= now + 1e-9]
    ends = [(e, t) for e, t in zip(seen.ends, seen.ttfts, strict=True) if e <= now + 1e-9]
    return Seen([t for t, _ in ticks], [c for _, c in ticks], [e for e, _ in ends], [t for _, t in ends])


def window(aim: Aim, seen: Seen) -> tuple[float, float]:
    """Begin and end of the window that this load gets."""
    now = aim.duration
    while True:
        begin = aim.begin(cut(seen, now), now)
        if begin is not None:
            return begin, now
        now = min(aim.longest, now + aim.step)


AIM = Aim(duration=6.0, longest=18.0, fewest=8, wanted=0)


def test_a_steady_window_with_enough_requests_ends_when_it_may() -> None:
    assert window(AIM, load((18, 300, 8, 0.1))) == (0.0, 6.0)


def test_a_window_goes_on_until_it_holds_enough_requests() -> None:
    assert window(AIM, load((18, 300, 1, 0.1))) == (0.0, 9.0)


def test_a_window_is_bounded() -> None:
    assert window(AIM, load((18, 300, 0.2, 0.1))) == (0.0, 18.0)


def test_an_unsettled_start_is_replaced_by_later_load() -> None:
    begin, end = window(AIM, load((5, 20, 2, 2.0), (13, 300, 12, 0.1)))
    assert begin >= 4.5
    assert end <= 12.0
    assert end - begin >= AIM.duration


def test_what_never_settles_is_measured_whole() -> None:
    falling = [(1.0, 400 * 0.75**n, 10.0, 0.1 * 1.3**n) for n in range(18)]
    assert window(AIM, load(*falling)) == (0.0, 18.0)


@pytest.mark.parametrize(("rate", "end"), [(10, 10.5), (20, 6.0), (4, 6.0)])
def test_a_percentiles_requests_are_waited_for_where_they_can_be_reached(rate: float, end: float) -> None:
    aim = Aim(duration=6.0, longest=18.0, fewest=8, wanted=100)
    assert window(aim, load((18, 300, rate, 0.1))) == (0.0, end), "4/s reach 72 of 100 at the most"


def test_fewer_requests_than_steadiness_needs_may_be_all_that_were_asked_for() -> None:
    aim = Aim(duration=1.0, longest=3.0, fewest=2, wanted=0)
    assert window(aim, load((3, 50, 4, 0.1))) == (0.0, 1.0)


SPANS = st.lists(
    st.tuples(st.floats(0.5, 6), st.floats(0, 500), st.floats(0, 30), st.floats(0.001, 3)), min_size=1, max_size=6
)


@given(SPANS, st.integers(0, 200))
def test_what_holds_for_any_load(spans: list[tuple[float, float, float, float]], wanted: int) -> None:
    aim = Aim(duration=2.0, longest=6.0, fewest=8, wanted=wanted)
    seen = load(*spans)
    begin, end = window(aim, seen)
    assert 0 <= begin <= end - aim.duration + 1e-6
    assert end <= aim.longest + 1e-6
    if end < aim.longest:
        known = cut(seen, end)
        assert known.finished(begin) >= aim.fewest
        assert known.steady(begin, end)
    if begin > 0:
        assert cut(seen, end).steady(begin, end), "only for a steady part is the start left out"


@given(SPANS)
def test_what_is_seen_only_grows(spans: list[tuple[float, float, float, float]]) -> None:
    seen = load(*spans)
    assert all(a <= b for a, b in pairwise(seen.chunks))
    assert not seen.steady(0, 1) or seen.finished(0) >= FEWEST
