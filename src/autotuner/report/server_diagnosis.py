"""Explanation of a server's behavior in one window, from its own metrics. Pure.

Each sentence rests on figures that :class:`~autotuner.study.server_metrics.ServerMetrics` holds; where these do not
decide between two causes, the sentence says so.
"""

import math
from collections.abc import Iterator

from autotuner.study.measurement import Measurement
from autotuner.study.server_metrics import FULL, GaugeStats, ServerMetrics
from autotuner.study.workload import Concurrency

_RARELY = 0.02
"""Share of the window below which a full KV cache explains nothing."""
_QUEUE = 0.5
"""Mean number of waiting requests from which a queue is worth mentioning."""
_ROOM = 0.8
"""KV cache use below which it is certainly not what requests wait for, where the limit of running requests is not
known: engines admit requests by what they may still generate, and so queue them some way before it is full."""
_PLATEAU = 0.8
"""Share of the time with a queue that running requests stay at their maximum if a limit holds them there."""
_GROWS = 0.5
"""Growth of the queue over the window, relative to its mean, from which it is reported."""
_GROWS_BY = 2.0
"""The same in requests: less is noise."""
_HITS = 0.05
"""Share of the prompt tokens from which the prefix cache matters: chat templates alone give about 1%."""


def diagnosis(measured: Measurement) -> tuple[str, ...]:
    """One sentence per cause, the most important one first; empty where the metrics explain nothing."""
    server = measured.server
    if server is None or not server.samples:
        return ()
    return (*_kv_cache(server), *_queue(server, measured), *_prefixes(server), *_drafts(server))


def server_figures(server: ServerMetrics) -> str:
    """The figures in one line; empty where there are none."""
    parts = []
    for name, stats in (("running", server.running), ("waiting", server.waiting)):
        if stats is not None:
            parts.append(f"{_count(stats.mean)} {name} (max {_count(stats.max)})")
    if server.kv_usage is not None:
        parts.append(f"KV cache {server.kv_usage.mean:.0%} (max {server.kv_usage.max:.0%})")
    if server.prefix_hit_rate is not None:
        parts.append(f"prefix cache hits {server.prefix_hit_rate:.1%}")
    if server.preemptions is not None:
        parts.append(_preemptions(server.preemptions))
    if server.acceptance_rate is not None:
        parts.append(f"draft tokens accepted {server.acceptance_rate:.0%}")
    return ", ".join(parts)


def _kv_cache(server: ServerMetrics) -> Iterator[str]:
    preempted = server.preemptions or 0
    counted = f"; {_preemptions(preempted)}" if preempted else ""
    if (server.kv_full_share or 0.0) >= _RARELY:
        since = "" if server.kv_full_running is None else f" from {_requests(server.kv_full_running)} in flight"
        yield f"KV cache full{since}{counted}"
    elif preempted:
        seen = "" if server.kv_usage is None else f" (at most {server.kv_usage.max:.0%} in the samples)"
        yield f"{_preemptions(preempted)}: the KV cache was full at times{seen}"


def _queue(server: ServerMetrics, measured: Measurement) -> Iterator[str]:
    waiting = server.waiting
    running = server.running
    if waiting is None or running is None or waiting.mean < _QUEUE:
        return
    waited = f"{_requests(waiting.mean)} waited on average{_growth(server, waiting, measured.window_s)}"
    flag = server.running_limit_flag
    limit = None if server.running_limit is None else server.running_limit * server.replicas
    cache = server.kv_usage
    used = "" if cache is None else f", and the KV cache was at most {cache.max:.0%} used"
    full = cache is not None and cache.max >= FULL
    level = measured.level
    in_flight = level.in_flight if isinstance(level, Concurrency) else math.inf
    if limit is not None and running.max >= limit and in_flight > limit:
        yield f"{flag} ({limit}) is the limit: {waited}" + ("" if full else used)
    elif full:
        yield f"{waited} for KV cache"
    elif running.max >= in_flight:
        return  # all of them ran at once at times, so each waits only for the server's next step
    elif limit is None and _held_by_a_limit(server):
        yield f"probably {flag} is the limit: at most {_requests(running.max)} ran at once, {waited}{used}"
    else:
        ran = f"at most {_count(running.max)}" + (f" of {limit}" if limit is not None else "") + " requests ran at once"
        if server.reserves_kv_cache and cache is not None:
            yield (
                f"{waited}: {ran}, probably because the KV cache (at most {cache.max:.0%} used) is reserved for whole "
                "answers in advance"
            )
        else:
            yield f"{waited} though no limit was reached: {ran}{used}"


def _held_by_a_limit(server: ServerMetrics) -> bool:
    room = server.kv_usage is None or server.kv_usage.max < _ROOM
    return bool(server.running_limit_flag) and room and (server.saturated_share or 0.0) >= _PLATEAU


def _growth(server: ServerMetrics, waiting: GaugeStats, window_s: float) -> str:
    """Where the queue grew through the window: then its mean depends on the window's length."""
    growth = server.queue_growth or 0.0
    if growth * window_s < max(_GROWS_BY, _GROWS * waiting.mean):
        return ""
    return f" (the queue grew by {growth:.2g} requests/s)"


def _prefixes(server: ServerMetrics) -> Iterator[str]:
    if server.prefix_hit_rate is not None and server.prefix_hit_rate >= _HITS:
        yield f"{server.prefix_hit_rate:.0%} of the prompt tokens came from the prefix cache"


def _drafts(server: ServerMetrics) -> Iterator[str]:
    if server.acceptance_rate is not None:
        yield f"speculative decoding: {server.acceptance_rate:.0%} of the draft tokens were accepted"


def _preemptions(count: int) -> str:
    return f"{count:,} preemption{'' if count == 1 else 's'}"


def _count(value: float) -> str:
    """A number of requests: whole where it is large or whole."""
    return f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"


def _requests(value: float) -> str:
    return f"{_count(value)} request{'' if value == 1 else 's'}"
