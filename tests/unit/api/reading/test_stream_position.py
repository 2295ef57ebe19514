"""Positions in the events of all studies: whatever order events become visible in, each is delivered once."""

import random

from hypothesis import given
from hypothesis import strategies as st

from autotuner.api.reading.stream_position import StreamPosition


def look(position: StreamPosition, visible: set[int], now: float) -> set[int]:
    """One poll of the store, as the feed does it."""
    found = sorted(n for n in visible if n > position.highest or n in position.missing)
    return position.advance(found, now)


def test_events_in_order_are_settled_at_once() -> None:
    position = StreamPosition([], 0.0)
    assert look(position, {1, 2, 3}, 0.0) == {1, 2, 3}
    assert (position.settled, list(position.missing)) == (3, [])
    assert look(position, {1, 2, 3}, 0.1) == set()


def test_an_event_that_becomes_visible_late_is_delivered() -> None:
    position = StreamPosition([1, 2, 4], 0.0)
    assert (position.highest, position.settled) == (4, 2)
    assert look(position, {1, 2, 4, 6}, 0.1) == {6}
    assert position.settled == 2
    assert look(position, {1, 2, 3, 4, 6}, 0.2) == {3}
    assert position.settled == 4
    assert look(position, {1, 2, 3, 4, 5, 6}, 0.3) == {5}
    assert position.settled == 6


def test_a_number_that_never_comes_is_given_up() -> None:
    position = StreamPosition([1], 0.0)
    look(position, {1, 3}, 0.0)
    look(position, {1, 3}, StreamPosition.PATIENCE_S)
    assert position.settled == 1
    look(position, {1, 3}, StreamPosition.PATIENCE_S + 0.1)
    assert (position.settled, list(position.missing)) == (3, [])


def test_a_large_gap_takes_little_memory() -> None:
    position = StreamPosition([1], 0.0)
    look(position, {1, 10**9}, 0.0)
    assert len(position.missing) <= StreamPosition.WINDOW


@given(st.integers(1, 60), st.integers(0, 10**6))
def test_each_event_is_delivered_once_and_resuming_misses_none(count: int, seed: int) -> None:
    order = list(range(1, count + 1))
    chance = random.Random(seed)
    # Neighbors change places a few times, as transactions that end at about the same time do.
    for index in (chance.randrange(count) for _ in range(count)):
        other = min(count - 1, index + chance.randrange(4))
        order[index], order[other] = order[other], order[index]
    position = StreamPosition([], 0.0)
    visible = set[int]()
    delivered = list[int]()
    while order:
        for _ in range(min(len(order), chance.randrange(1, 5))):
            visible.add(order.pop(0))
        delivered += sorted(look(position, visible, 0.0))
        assert set(range(1, position.settled + 1)) <= set(delivered)
    assert sorted(delivered) == list(range(1, count + 1))
    assert position.settled == count
