"""The timer of an open loop rings once at its time and never early, and requests built ahead leave in order."""

import asyncio
from itertools import count
from time import monotonic_ns

import pytest
import uvloop

from autotuner.benchmarks.loadgen import lookahead
from autotuner.benchmarks.loadgen.http.alarm import Alarm
from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.lookahead import Lookahead


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop])
@pytest.mark.parametrize("delay_ns", [-5_000_000, 0, 300_000, 3_700_000])
def test_alarm_rings_once_and_never_early(loop: object, delay_ns: int) -> None:
    rung: list[int] = []

    async def work() -> int:
        alarm = Alarm(lambda: rung.append(monotonic_ns()))
        due = monotonic_ns() + delay_ns
        alarm.set(due)
        while not rung:  # noqa: ASYNC110 - a callback sets it, not a coroutine
            await asyncio.sleep(0)
        alarm.set(monotonic_ns() + 1_000_000)
        alarm.close()
        await asyncio.sleep(0.01)
        return due

    with asyncio.Runner(loop_factory=loop) as runner:  # type: ignore[arg-type]
        due = runner.run(work())
    assert len(rung) == 1
    assert rung[0] >= due


@pytest.mark.anyio
@pytest.mark.parametrize("most", [1, 4, 1000])
async def test_requests_built_ahead_leave_in_order(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookahead, "MOST_REQUESTS", most)
    numbers = count()
    built: list[int] = []

    def build() -> Request:
        built.append(next(numbers))
        return Request(built[-1], b"x" * 10, 1, 1, keep_text=False)

    ahead = Lookahead(build, 50)
    ahead.fill()
    assert len(built) == min(most, 50)
    taken = []
    for _ in range(50):
        taken.append(ahead.take().index)
        assert len(built) <= len(taken) + most
        if len(taken) % 7 == 0:
            await asyncio.sleep(0)
    for _ in range(60):
        await asyncio.sleep(0)
    assert taken == list(range(50)) == built
