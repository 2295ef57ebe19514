"""Detection of overload: an open loop whose backlog grows for as long as the load lasts.

A single number cannot show it. Near capacity, the backlog of a healthy server fluctuates, and without warm-up it rises
once to its level. Three conditions must therefore hold together: completions lag behind arrivals by more than chance
explains, the second half of the window still adds to the backlog, and later arrivals wait longer than earlier ones.
The tests verify this with simulations below and above capacity.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_CHANCE = 2.5
"""Standard deviations of the arrivals by which a healthy server may lag behind by chance (Poisson service)."""
_SHARE = 0.1
"""Minimum share of the arrivals by which completions must lag behind, however many arrivals there are."""
_LATE = 0.25
"""Minimum share of the backlog's growth in the second half of the window; it is 0.5 if the backlog grows evenly."""
_SLOWER = 0.3
"""Minimum increase of the latency from the first to the last third, relative to what the backlog implies."""


@dataclass(frozen=True)
class Arrival:
    """One request of an open loop. Times in seconds from the window's start."""

    scheduled: float
    end: float
    """When its response ended, or when the load generator stopped watching."""
    first: float | None
    """When its first token arrived; None if none did."""
    known: bool
    """Whether the response ended at ``end``, as opposed to the load generator's watch."""


def overload_reason(requests: Sequence[Arrival], window_s: float) -> str | None:
    """Explains why the server was overloaded.

    Args:
        requests: All requests, including those of the warm-up and after the window.
        window_s: Length of the window, in seconds.

    Returns:
        None if the server kept up.
    """
    scheduled = np.array([r.scheduled for r in requests])
    ends = np.array([r.end if r.known else max(r.end, window_s) for r in requests])
    arrived = int(((scheduled >= 0) & (scheduled < window_s)).sum())
    begin, middle, end = (_backlog(scheduled, ends, at) for at in (0.0, window_s / 2, window_s))
    grown = end - begin
    if grown < max(_CHANCE * arrived**0.5, _SHARE * arrived) or end - middle < _LATE * grown:
        return None
    inside = [r for r in requests if 0 <= r.scheduled < window_s]
    implied = grown / arrived * window_s * 2 / 3  # distance between the middles of the first and the last third
    if not any(_rise(inside, window_s, first) >= _SLOWER * implied for first in (True, False)):
        return None
    return (
        f"{arrived} requests arrived in the window and {arrived - grown} ended; the backlog grew from {begin} to {end}"
    )


def _backlog(scheduled: Floats, ends: Floats, at: float) -> int:
    """Requests that have arrived but not ended at a given time."""
    return int(((scheduled < at) & (ends >= at)).sum())


def _rise(inside: Sequence[Arrival], window_s: float, first: bool) -> float:
    """Increase of the median latency from the first to the last third of arrivals, in seconds.

    Requests that were watched for less time would look faster, so all latencies are capped at the shortest such time.
    The increase is infinite if most of the last third reached that cap.

    Args:
        inside: Requests that arrived in the window.
        window_s: Length of the window, in seconds.
        first: Whether to use the time to the first token instead of the whole response.
    """
    waits = [(r.first if first and r.first is not None else r.end) - r.scheduled for r in inside]
    unknown = [wait for r, wait in zip(inside, waits, strict=True) if not (r.known or (first and r.first is not None))]
    cap = min(unknown, default=float("inf"))
    at = np.array([r.scheduled for r in inside])
    capped = np.minimum(np.array(waits), cap)
    early = capped[at < window_s / 3]
    late = capped[at >= window_s * 2 / 3]
    if not len(early) or not len(late):
        return 0.0
    if float(np.median(late)) >= cap:
        return float("inf")
    return float(np.median(late) - np.median(early))
