"""The load of several processes, put together from their reports."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.level_watch import LevelWatch
from autotuner.benchmarks.loadgen.processes.load_events import ARRIVED, ENDED, FIRST, SENT, MergedLoad, merged_quantile
from autotuner.benchmarks.loadgen.spec import LevelSpec


def report(until: int, *events: tuple[Any, ...], chunks: int = 0) -> dict[str, Any]:
    return {"until_ns": until, "chunks": chunks, "events": [list(event) for event in events], "lags": []}


def arrived(at: int, index: int) -> tuple[Any, ...]:
    return at, index, ARRIVED, (False, 1, 1)


def ended(at: int, index: int, *, chunks: int = 3, error: str | None = None) -> tuple[Any, ...]:
    return at, index, ENDED, (at - 5, at - 4, at - 1, chunks, None, error, 0)


class Watched(MergedLoad):
    """Keeps what it has told, in order."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.told: list[tuple[str, int, int]] = []
        self.on_arrived = lambda request, in_flight: self.told.append(("arrived", request.index, in_flight))
        self.on_ended = lambda request: self.told.append(("ended", request.index, len(request.chunks)))


def test_nothing_is_told_before_all_processes_have_reported_until_then() -> None:
    load = Watched(2)
    load.take(0, report(100, arrived(10, 0), ended(60, 0)))
    assert load.told == []
    load.take(1, report(50, arrived(20, 1)))
    assert load.told == [("arrived", 0, 0), ("arrived", 1, 1)]
    load.take(1, report(200))
    assert load.told[2:] == [("ended", 0, 3)]
    assert len(load.in_flight) == 1


def test_a_hold_keeps_later_events_back() -> None:
    load = Watched(1)
    load.hold_ns = 15
    load.take(0, report(100, arrived(10, 0), arrived(20, 1)))
    assert [index for _, index, _ in load.told] == [0]
    assert load.applied_ns == 15
    load.hold_ns = None
    load.apply()
    assert [index for _, index, _ in load.told] == [0, 1]


def test_a_finished_process_holds_nothing_up() -> None:
    load = Watched(2)
    load.finish(1)
    load.take(0, report(10, arrived(5, 0)))
    assert load.told == [("arrived", 0, 0)]


def test_chunks_of_ended_and_of_running_requests_add_up() -> None:
    load = Watched(2)
    load.take(0, report(100, arrived(1, 0), ended(50, 0, chunks=7), chunks=9))
    load.take(1, report(10, arrived(2, 1), chunks=4))
    seen = sum(count for what, _, count in load.told if what == "ended")
    assert seen + load.chunks == 13
    load.take(1, report(100, chunks=5))
    seen = sum(count for what, _, count in load.told if what == "ended")
    assert (seen, seen + load.chunks) == (7, 14)


def test_the_first_token_is_known_before_the_end() -> None:
    load = MergedLoad(1)
    kept: list[Request] = []
    load.on_arrived = lambda request, _: kept.append(request)
    load.take(0, report(30, arrived(1, 0), (20, 0, FIRST, (2,))))
    assert (kept[0].sent_ns, kept[0].chunks, kept[0].end_ns) == (2, [20], 0)


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 300)), min_size=1, max_size=30), st.integers(1, 4))
def test_requests_in_flight_are_those_of_one_process(spans: list[tuple[int, int]], workers: int) -> None:
    """Whoever sends a request, it finds all others in flight."""
    events = sorted(
        [arrived(2 * at, n) for n, (at, _) in enumerate(spans)]
        + [ended(2 * (at + took) + 1, n) for n, (at, took) in enumerate(spans)]
    )
    alone = Watched(1)
    alone.take(0, report(10_000, *events))
    several = Watched(workers)
    for step in range(100, 2001, 100):
        for worker in range(workers):
            own = [e for e in events if step - 100 < e[0] <= step and e[1] % workers == worker]
            several.take(worker, report(step, *own))
    assert several.told == alone.told
    assert len(several.ended) == len(spans)


def test_quantile_of_all_values() -> None:
    assert merged_quantile([[0.1, 0.4], [0.2, 0.3]], 0.5) == 0.3
    assert merged_quantile([[], []], 0.99) == 0.0


def test_answer_whose_report_is_on_its_way_is_no_miss() -> None:
    level = LevelSpec(("ttft",), (0.5,), (0.1,), 0.05, 0.05, (1.0,), 400, None, False, 100)
    load = MergedLoad(2)
    watch = LevelWatch(level, open_loop=True, known_until=lambda: load.applied_ns)
    load.on_arrived = watch.arrived
    watch.open()
    second = 1_000_000_000
    started = [(second, 0, ARRIVED, (False, 1, 1)), (second, 0, SENT, (second,))]
    load.take(0, report(second + 1, *started))
    load.take(1, report(60 * second))
    assert not watch.over()
    assert watch.summary() == {"requests": [0]}, "the first process has not said what happened since"
    answer = [(second + 400_000_000, 0, FIRST, (second,))]
    load.take(0, report(60 * second, *answer, chunks=1))
    assert not watch.over()
    assert (watch.summary(), watch.failed) == ({"requests": [1]}, False)


def test_what_the_last_reports_say_is_applied_when_all_have_finished() -> None:
    load = Watched(2)
    load.on_arrived = lambda request, in_flight: setattr(request, "in_flight", in_flight)
    load.take(0, report(50, arrived(10, 0)))
    load.take(1, report(90, arrived(20, 1), ended(80, 1)))
    assert load.in_flight_at == {0: 0, 1: 1}, "known although neither end is"
    assert len(load.ended) == 0
    load.finish(0)
    load.finish(1)
    assert [request.index for request in load.ended] == [1]
