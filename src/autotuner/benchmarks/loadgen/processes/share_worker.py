"""One of several processes that send a window's load:
``python -m autotuner.benchmarks.loadgen.processes.share_worker``.

Its parent is :mod:`autotuner.benchmarks.loadgen.processes.several_workers`. The first line of stdin is the spec
(:class:`~autotuner.benchmarks.loadgen.spec.WorkerSpec`) of its share; further lines are orders of the parent, which
decides when the window begins and ends. When stdin ends, it ends: no process outlives its parent.

Lines on stdout, by ``kind``: ``ready``; ``events`` (see :mod:`autotuner.benchmarks.loadgen.processes.load_events`);
``settled``; ``left``; ``records`` as those of a single process; ``share`` with the values of the self-check; ``error``.
"""

import asyncio
import signal
import sys
from collections.abc import Callable, Mapping
from random import Random
from time import monotonic, monotonic_ns, process_time
from typing import Any

import orjson
import uvloop

from autotuner.benchmarks.loadgen.conversations.turns import TurnFactory
from autotuner.benchmarks.loadgen.conversations.users import Users
from autotuner.benchmarks.loadgen.http.descriptors import raise_descriptor_limit
from autotuner.benchmarks.loadgen.http.request import Request, fail_unfinished, gives_reasons
from autotuner.benchmarks.loadgen.http.request_loop import Load
from autotuner.benchmarks.loadgen.lookahead import Lookahead
from autotuner.benchmarks.loadgen.output_lines import emit
from autotuner.benchmarks.loadgen.processes.load_events import EventLog
from autotuner.benchmarks.loadgen.processes.run_beside import run_beside
from autotuner.benchmarks.loadgen.processes.shares import dealt
from autotuner.benchmarks.loadgen.replay_prompts import ReplayFactory
from autotuner.benchmarks.loadgen.request_factories import given_calibrations, request_factory
from autotuner.benchmarks.loadgen.run_window import (
    PREBUILT,
    SPREAD_S,
    batches,
    count_tokens,
    prebuild,
    record_of,
    rows_used,
)
from autotuner.benchmarks.loadgen.spec import WorkerSpec
from autotuner.benchmarks.loadgen.tokens import counter
from autotuner.invalid_value import InvalidValueError

_TESTED_REPORT_S = 0.02
"""Time between two reports where a level is tested request by request."""
_REPORT_S = 0.05
_LAG_TICK_S = 0.01
_LINE_LIMIT = 1 << 30
_UNLIMITED = 1 << 62


class ParentGoneError(Exception):
    """Stdin has ended."""


class Orders:
    """The parent's orders. Each is awaited by name; one that is not awaited yet is kept."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._given: dict[str, dict[str, Any]] = {}
        self._news = asyncio.Condition()
        self.on_stop: Callable[[], None] = lambda: None
        self.on_cut: Callable[[], None] = lambda: None

    async def read(self) -> None:
        """Reads until stdin ends. Raises :class:`ParentGoneError` then."""
        while line := await self._reader.readline():
            order = orjson.loads(line)
            if order["order"] in ("stop", "cut"):
                (self.on_stop if order["order"] == "stop" else self.on_cut)()
                continue
            async with self._news:
                self._given[order["order"]] = order
                self._news.notify_all()
        raise ParentGoneError

    async def get(self, name: str) -> dict[str, Any]:
        """The order of this name."""
        async with self._news:
            await self._news.wait_for(lambda: name in self._given)
            return self._given[name]


class ShareRun:
    """One process's share of a window.

    Args:
        spec: Of this share.
        orders: The parent's.
    """

    def __init__(self, spec: WorkerSpec, orders: Orders) -> None:
        self._spec = spec
        self._orders = orders
        self._ready: list[Request] = []
        self._load = Load(spec.url, self._make, timeout_s=spec.request_timeout_s, access=spec.access)
        self._log = EventLog(self._load, first_tokens=spec.level is not None)
        self._load.on_arrived = self._log.arrived
        self._load.on_ended = self._log.ended
        self._factory = request_factory(spec, given_calibrations(spec), self._load.connections.host)
        self._lags: list[tuple[int, float]] = []
        self._cpu_s = 0.0
        self._handed_over = False
        orders.on_stop = self._load.stop
        orders.on_cut = self._load.cut

    async def run(self) -> None:
        """From the first request built to the last record."""
        try:
            await self._send()
            await self._end()
        finally:
            await self._load.close()

    async def report(self) -> None:
        """Reports to the parent for as long as the load is on."""
        await self._orders.get("start")
        while True:
            await asyncio.sleep(_REPORT_S if self._spec.level is None else _TESTED_REPORT_S)
            if self._handed_over:
                return
            emit(self._log.report())

    async def check_itself(self) -> None:
        """Samples the loop's lag and the CPU time while the window is open."""
        await self._orders.get("open")
        cpu = process_time()
        end = asyncio.ensure_future(self._orders.get("end"))
        while not end.done():
            due = monotonic() + _LAG_TICK_S
            await asyncio.sleep(_LAG_TICK_S)
            lag = monotonic_ns(), monotonic() - due
            self._lags.append(lag)
            self._log.lagged(*lag)
        self._cpu_s = process_time() - cpu

    def _make(self) -> Request:
        return self._ready.pop() if self._ready else self._factory.next()

    async def _send(self) -> None:
        """Prepares the share and starts it when the parent says."""
        spec = self._spec
        order = await self._orders.get("schedule")
        schedule = order["at_ns"]
        if spec.concurrency is not None:
            await self._send_closed(spec.concurrency)
            return
        if isinstance(self._factory, TurnFactory):
            users = Users(spec, self._load, self._factory)
            begin = await self._begin()
            await asyncio.sleep(max(0.0, (begin - monotonic_ns()) / 1e9))
            users.start()
            return
        if isinstance(self._factory, ReplayFactory):
            ahead = Lookahead(self._factory.next, len(schedule))
            ahead.fill()
            self._load.make = ahead.take
        else:
            prebuild(self._ready, self._factory, order["prebuild"])
        begin = await self._begin()
        self._load.start_open([begin + at for at in schedule])

    async def _send_closed(self, in_flight: int) -> None:
        spec = self._spec
        shares = Random(f"{spec.seed}:ramp")
        of_all = [shares.uniform(0.1, 1.0) for _ in range(in_flight)]
        firsts = [self._factory.next(output_share=share) for share in dealt(of_all, spec.share)]
        for request in firsts:
            request.ramp = True
        prebuild(self._ready, self._factory, (spec.requests or PREBUILT) // spec.share.of + 1)
        begin = await self._begin()
        spread_s = min(SPREAD_S, spec.warmup_s / 2)
        begin += round(spread_s * spec.share.index / in_flight * 1e9)
        await asyncio.sleep(max(0.0, (begin - monotonic_ns()) / 1e9))
        self._load.start_closed(len(firsts), spread_s, firsts.__getitem__)

    async def _begin(self) -> int:
        """Opens the connections, says so, and waits for the start time (monotonic ns)."""
        await self._load.connections.prepare((await self._orders.get("schedule"))["connections"])
        emit({"kind": "ready", "file_limit": self._load.connections.file_limit})
        begin: int = (await self._orders.get("start"))["begin_ns"]
        return begin

    async def _end(self) -> None:
        """Waits for the window's end and for the outcomes that it needs; then emits the records."""
        spec = self._spec
        end = await self._orders.get("end")
        end_ns = end["end_ns"]
        if end["cut"]:
            self._load.cut()
        else:
            await self._load.settle(end["begin_ns"], end_ns, spec.drain_s, _UNLIMITED)
            emit({"kind": "settled"})
            await self._orders.get("leave")
            self._load.leave(end_ns, spec.drain_s)
        await self._load.close()
        self._handed_over = True
        emit(self._log.report())
        requests = self._load.ended
        emit({"kind": "left", "reasons": gives_reasons(requests)})
        fail_unfinished(requests, reasons=(await self._orders.get("hand_over"))["reasons"])
        if spec.tokenizer_json is not None:
            count_tokens(requests, counter(spec.tokenizer_json))
        for batch in batches(requests):
            emit({"kind": "records", "records": [record_of(spec, r, end["begin_ns"]) for r in batch]})
        emit(self._result(end["begin_ns"]))

    def _result(self, begin_ns: int) -> Mapping[str, Any]:
        spec = self._spec
        return {
            "kind": "share",
            "lags": [lag for at, lag in self._lags if at >= begin_ns],
            "cpu_s": self._cpu_s,
            "rows_used": rows_used(spec, self._load.ended),
            "prompts": self._factory.units.kind,
            "file_limit": self._load.connections.file_limit,
        }


async def run_share() -> None:
    """Reads the spec and runs its share."""
    reader = asyncio.StreamReader(limit=_LINE_LIMIT)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )
    try:
        spec = WorkerSpec.from_json(await reader.readline())
        orders = Orders(reader)
        share = ShareRun(spec, orders)
        await run_beside(share.run(), orders.read(), share.report(), share.check_itself())
    finally:
        transport.close()


def main() -> int:
    """Runs a share and returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its children
    raise_descriptor_limit()
    unhandled: list[str] = []
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: unhandled.append(str(context)))
            runner.run(run_share())
    except (ParentGoneError, BrokenPipeError):
        return 1
    except InvalidValueError as error:
        emit({"kind": "error", "message": error.why, "remedy": error.remedy})
        return 2
    except (ValueError, TypeError) as error:
        emit({"kind": "error", "message": str(error)})
        return 2
    if unhandled:  # an exception in a callback spoils the measurement without ending the run
        sys.stderr.write("\n".join(unhandled))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
