"""Procedure of one window, from the first calibration probe to the last record."""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from random import Random
from time import monotonic, monotonic_ns
from typing import Any

from autotuner.benchmarks.loadgen.conversations.turns import TurnFactory
from autotuner.benchmarks.loadgen.conversations.users import Users
from autotuner.benchmarks.loadgen.http.request import Request, fail_unfinished
from autotuner.benchmarks.loadgen.http.request_loop import Load
from autotuner.benchmarks.loadgen.level_watch import LevelWatch
from autotuner.benchmarks.loadgen.lookahead import Lookahead
from autotuner.benchmarks.loadgen.metrics.server_metrics import Sampler, line_of
from autotuner.benchmarks.loadgen.output_lines import Emit
from autotuner.benchmarks.loadgen.processes.load_events import merged_quantile
from autotuner.benchmarks.loadgen.prompts import RequestFactory
from autotuner.benchmarks.loadgen.replay_prompts import ReplayFactory
from autotuner.benchmarks.loadgen.request_factories import calibrations_of, prime_prefixes, request_factory
from autotuner.benchmarks.loadgen.schedule import window_arrivals
from autotuner.benchmarks.loadgen.spec import Calibration, WorkerSpec
from autotuner.benchmarks.loadgen.tokens import counter
from autotuner.benchmarks.loadgen.window import WatchedLoad, Window
from autotuner.net.faults import message_line, without_secrets
from autotuner.net.target import credentials_in

_BATCH_CHUNKS = 100_000
"""Chunk times per line of records; bounds the length of a line."""
_PREBUILT_BYTES = 32_000_000
PREBUILT = 2_000
SPREAD_S = 1.0
_FEWEST_WARM = 20
"""Answers of the warm-up of a level that is tested request by request."""
_WARMUPS = 4
"""Lengths of the warm-up that such a level may add to it."""
_START_DELAY_NS = 5_000_000
"""Delay before a schedule starts, so that its first arrivals are not already late."""


async def run(spec: WorkerSpec, emit: Emit) -> None:
    """Runs the window and emits its records and result. Raises ``ValueError`` if the spec is not usable."""
    count = counter(spec.tokenizer_json) if spec.tokenizer_json is not None else None
    sampler = Sampler(spec, spec.server_metrics) if spec.server_metrics is not None else None
    try:
        await _measured(spec, emit, count, sampler)
    finally:
        if sampler is not None:
            sampler.end()


async def _measured(spec: WorkerSpec, emit: Emit, count: Callable[[str], int] | None, sampler: Sampler | None) -> None:
    calibrations = await calibrations_of(spec)
    ready: list[Request] = []

    def make() -> Request:
        return ready.pop() if ready else factory.next()

    load = Load(spec.url, make, timeout_s=spec.request_timeout_s, access=spec.access)
    watch = LevelWatch(spec.level, open_loop=spec.rate is not None) if spec.level is not None else None
    window = Window(spec, load, emit, watch)
    if watch is not None:
        load.on_arrived = watch.arrived
    load.on_ended = window.ended
    factory = request_factory(spec, calibrations, load.connections.host)
    primed = await prime_prefixes(spec, factory)
    try:
        if isinstance(factory, ReplayFactory):
            await _replay(spec, load, window, factory)
        elif isinstance(factory, TurnFactory):
            await _users(spec, load, window, factory)
        elif spec.concurrency is not None:
            await _closed(spec, load, window, factory, ready)
        else:
            await _open(spec, load, window, factory, ready)
        if watch is not None:
            await watch.settle(spec.drain_s)
        if watch is None or not watch.failed:
            await load.drain(window.begin_ns, window.end_ns, spec.drain_s, window.backlog_limit)
        else:
            load.cut()
    finally:
        await load.close()
    if sampler is not None:
        emit(line_of(sampler.stop(), window.begin_ns))
    fail_unfinished(load.ended)
    if count is not None:
        count_tokens(load.ended, count)
    for batch in batches(load.ended):
        emit({"kind": "records", "records": [record_of(spec, r, window.begin_ns) for r in batch]})
    more = {"level": None if watch is None else watch.summary(), "primed": primed}
    emit(_result(spec, window, calibrations, load, factory) | more)


async def _closed(spec: WorkerSpec, load: Load, window: Window, factory: RequestFactory, ready: list[Request]) -> None:
    """Runs a closed loop.

    The first request of each slot asks for a random share of its output, so that answers of equal length do not end in
    lockstep. The window opens after the warm-up, once all of these have ended.
    """
    in_flight = spec.concurrency or 1
    shares = Random(f"{spec.seed}:ramp")
    firsts = [factory.next(output_share=shares.uniform(0.1, 1.0)) for _ in range(in_flight)]
    for request in firsts:
        request.ramp = True
    prebuild(ready, factory, spec.requests or PREBUILT)
    await load.connections.prepare(in_flight)
    begun = monotonic()
    load.start_closed(in_flight, min(SPREAD_S, spec.warmup_s / 2), firsts.__getitem__)
    await asyncio.sleep(spec.warmup_s)
    while any(not r.end_ns for r in firsts) and monotonic() < begun + spec.warmup_s + spec.duration_s:  # noqa: ASYNC110 - rare
        await asyncio.sleep(0.01)
    await window.run()


async def _users(spec: WorkerSpec, load: Load, window: Window, factory: TurnFactory) -> None:
    """Runs users who hold conversations. The window opens after the warm-up, once each has received an answer."""
    users = Users(spec, load, factory)
    await load.connections.prepare(spec.users or 1)
    begun = monotonic()
    users.start()
    await asyncio.sleep(spec.warmup_s)
    while not users.all_answered and monotonic() < begun + spec.warmup_s + spec.duration_s:  # noqa: ASYNC110 - rare
        await asyncio.sleep(0.01)
    await window.run()


async def _open(spec: WorkerSpec, load: Load, window: Window, factory: RequestFactory, ready: list[Request]) -> None:
    """Runs an open loop on a schedule drawn in advance."""
    rate = spec.rate or 1.0
    warm, main = window_arrivals(spec)
    prebuild(ready, factory, len(warm) + max(1, round(rate * spec.duration_s)))
    await load.connections.prepare(min(512, max(8, round(rate))))
    begin = monotonic_ns() + _START_DELAY_NS
    opens = begin + round(spec.warmup_s * 1e9)
    schedule = [begin + round(at * 1e9) for at in warm] + [opens + round(at * 1e9) for at in main]
    load.start_open(schedule)
    await asyncio.sleep(max(0.0, (opens - monotonic_ns()) / 1e9))
    if spec.level is not None:
        await turned_over(spec, load)
    if spec.level is None or spec.stages:
        # every window of a rate has the same arrivals, and each request belongs to the stage in which it is due
        await window.run(opens, on_schedule=True)
    else:
        await window.run()


async def _replay(spec: WorkerSpec, load: Load, window: Window, factory: ReplayFactory) -> None:
    """Runs an open loop with the arrivals of a trace: before the window opens, during it, and after its end."""
    at_s = spec.replay.at_s if spec.replay is not None else ()
    ahead = Lookahead(factory.next, len(at_s))
    ahead.fill()
    load.make = ahead.take
    await load.connections.prepare(min(512, max(8, busiest_second(at_s))))
    opens = monotonic_ns() + _START_DELAY_NS + round(max(0.0, -at_s[0]) * 1e9)
    window.opens_at(opens)
    load.start_open([opens + round(at * 1e9) for at in at_s])
    await asyncio.sleep(max(0.0, (opens - monotonic_ns()) / 1e9))
    await window.run(opens, on_schedule=True)


def busiest_second(at_s: Sequence[float]) -> int:
    """Most arrivals within one second."""
    return max(bisect_left(at_s, at + 1.0, lo=index) - index for index, at in enumerate(at_s))


async def turned_over(spec: WorkerSpec, load: WatchedLoad) -> None:
    """Waits until the requests in flight are others than at the start, so that the queue has come to its level; a
    saturated server never gets there."""
    end = monotonic() + _WARMUPS * spec.warmup_s
    target = max(_FEWEST_WARM, 2 * len(load.in_flight))
    while len(load.ended) < target and monotonic() < end:  # noqa: ASYNC110 - rare
        await asyncio.sleep(0.01)


def prebuild(ready: list[Request], factory: RequestFactory, count: int) -> None:
    """Serializes up to ``count`` requests ahead of the run, within a memory limit."""
    size = 0
    while len(ready) < count and size < _PREBUILT_BYTES:
        ready.append(factory.next())
        size += len(ready[-1].payload)
    ready.reverse()  # they are popped from the end


def batches(requests: list[Request]) -> Iterator[list[Request]]:
    """Requests in parts whose records make a line of bounded length."""
    batch: list[Request] = []
    size = 0
    for request in requests:
        batch.append(request)
        size += len(request.chunks) + 20
        if size > _BATCH_CHUNKS:
            yield batch
            batch = []
            size = 0
    if batch:
        yield batch


def rows_used(spec: WorkerSpec, requests: Sequence[Request]) -> list[int]:
    """Rows of a dataset up to the last one that was sent, of each part of a mix or of the only kind of requests."""
    used = [0] * max(1, len(spec.parts))
    for request in requests:
        if request.row is not None and request.sent_ns:
            used[request.part or 0] = max(used[request.part or 0], request.row + 1)
    return used


def count_tokens(requests: Sequence[Request], count: Callable[[str], int]) -> None:
    """Counts the tokens of answers for which the server reports none."""
    for request in requests:
        if request.usage_tokens is None and request.texts:
            request.counted_tokens = count("".join(request.texts))


def record_of(spec: WorkerSpec, request: Request, zero: int) -> dict[str, Any]:
    """The record of a request, with times in nanoseconds from ``zero``."""
    chunks = request.chunks
    tokens, source = _output_tokens(request)
    return {
        "index": request.index,
        "scheduled_ns": request.scheduled_ns - zero if spec.rate is not None else None,
        "sent_ns": request.sent_ns - zero,
        "lag_ns": request.sent_ns - request.scheduled_ns,
        "end_ns": request.end_ns - zero,
        "connect_ns": request.connect_ns,
        "first_ns": chunks[0] - zero if chunks else None,
        "gaps_ns": [b - a for a, b in pairwise(chunks)],
        "asked_input": request.asked_input,
        "asked_output": request.asked_output,
        "input_tokens": request.usage_prompt_tokens,
        "output_tokens": tokens,
        "token_source": source,
        "complete": request.error is None and (request.done or bool(request.finish)),
        "ramp": request.ramp,
        "error": request.error,
        "detail": without_secrets(message_line(request.detail), credentials_in(spec.headers, spec.access)),
        "finish": request.finish or None,
        "usage_input": request.prompt_tokens,
        "usage_output": request.output_tokens,
        "reused": request.reused,
        "in_flight": request.in_flight,
        "prefix": request.prefix,
        "part": request.part,
        "user": request.user,
        "conversation": request.conversation,
        "turn": request.turn,
        "documents": request.documents,
    }


def _output_tokens(request: Request) -> tuple[int, str]:
    """The output tokens of a request, and where their number comes from."""
    if request.documents is not None:
        return 0, "none"
    if request.usage_tokens is not None:
        return request.usage_tokens, "usage"
    if request.counted_tokens is not None:
        return request.counted_tokens, "tokenizer"
    return (len(request.chunks), "chunks") if request.streams else (0, "unknown")


def calibration_lines(calibrations: Sequence[Calibration]) -> list[dict[str, Any]]:
    """Calibrations as the result has them."""
    return [{"points": c.points, "prefix_words": c.prefix_words} for c in calibrations]


def _result(
    spec: WorkerSpec, window: Window, calibrations: Sequence[Calibration], load: Load, factory: RequestFactory
) -> dict[str, Any]:
    return {
        "kind": "result",
        "begin_epoch_s": window.begin_epoch,
        "window_ns": window.end_ns - window.begin_ns,
        "loop_lag_p99_s": merged_quantile([window.lags.loop.since(window.begin_ns)], 0.99),
        "client_cpu_cores": window.cpu_cores,
        "left_out_s": window.left_out_s,
        "left_out_lagged": window.left_out_lagged,
        "asked_rate": spec.rate,
        "workers": 1,
        "file_limit": load.connections.file_limit,
        "scheduled_in_window": load.scheduled_between(window.begin_ns, window.end_ns),
        "calibrations": calibration_lines(calibrations),
        "prompts": factory.units.kind,
        "rows_used": rows_used(spec, load.ended),
    }
