"""Garbage of the server: collections look at few objects, and cycles are freed all the same."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from autotuner.server.garbage import Garbage


class Node:
    """Part of a cycle."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def activity() -> list[int]:
    """Open streams, and requests that were answered."""
    return [0, 0]


@pytest.fixture
def garbage(activity: list[int], monkeypatch: pytest.MonkeyPatch) -> Iterator[Garbage]:
    """The policy, for a process with few objects."""
    monkeypatch.setattr("autotuner.server.garbage._WORTH", -1)
    before = gc.get_threshold()
    found = Garbage(lambda: (activity[0], activity[1]))
    with found.collected_rarely():
        yield found
    gc.unfreeze()
    assert gc.get_threshold() == before


def test_objects_that_survived_are_left_out_of_later_collections(garbage: Garbage) -> None:
    modules = gc.get_freeze_count()
    assert modules > 10_000
    kept = [[number] for number in range(1_000)]
    gc.collect(1)
    assert gc.get_freeze_count() >= modules + len(kept)
    assert not any(found is kept for found in gc.get_objects())
    del kept
    assert gc.get_freeze_count() < modules + 1_000  # without cycles, they are freed at once


def test_cycles_are_freed_when_nobody_waits(garbage: Garbage, activity: list[int]) -> None:
    node = Node()
    gc.collect(1)
    cycle = weakref.ref(node)
    del node
    gc.collect()
    assert cycle() is not None
    activity[:] = [1, 5]
    assert not garbage.look()  # a stream is open
    activity[:] = [0, 6]
    assert not garbage.look()  # a request was answered meanwhile
    assert cycle() is not None
    assert garbage.look()
    assert cycle() is None


def test_cycles_are_freed_while_there_are_streams_if_they_are_many(
    garbage: Garbage, activity: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    activity[:] = [1, 5]
    assert not garbage.look()
    monkeypatch.setattr("autotuner.server.garbage._MOST", 500)
    kept = [[number] for number in range(1_000)]
    gc.collect(1)
    assert garbage.look()
    assert not garbage.look()
    assert len(kept) == 1_000
