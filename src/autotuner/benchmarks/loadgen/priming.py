"""Shared prefixes sent once before each window, so that every window starts with the same ones in the server's cache.

Otherwise a window would depend on the ones before it: later levels would find prefixes cached that the first had to
compute.
"""

import asyncio

from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.http.request_loop import Load
from autotuner.benchmarks.loadgen.prefix_prompts import PrefixFactory
from autotuner.benchmarks.loadgen.spec import WorkerSpec

_AT_ONCE = 4
"""Requests in flight: enough to keep a server busy, and few enough to keep the order."""


async def prime(spec: WorkerSpec, factory: PrefixFactory) -> int:
    """Sends each prefix once, the most popular one last, because a full cache drops the oldest.

    Returns:
        How many prefixes the server has processed. It stops at the first failure, which the window will show as well.
    """

    def no_further_request() -> Request:
        raise RuntimeError("no request follows by itself")

    load = Load(spec.url, no_further_request, timeout_s=spec.request_timeout_s, access=spec.access)
    ended: asyncio.Queue[Request] = asyncio.Queue()
    load.on_ended = ended.put_nowait
    left = iter(reversed(range(len(factory))))
    primed = 0
    try:
        for _, rank in zip(range(_AT_ONCE), left, strict=False):
            load.send(factory.priming(rank))
        while load.in_flight or not ended.empty():
            if (await ended.get()).error is not None:
                break
            primed += 1
            rank = next(left, -1)
            if rank >= 0:
                load.send(factory.priming(rank))
    finally:
        await load.close()
    return primed
