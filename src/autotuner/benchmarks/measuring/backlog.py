"""Whether an open loop asked for more than the server can do: a backlog that grows for as long as the load lasts.

One number does not tell. Near capacity the backlog of a healthy server wanders, and after a start without warm-up it
rises once to its level. So three things must hold together: completions are behind arrivals by more than chance can
explain, the second half of the window still adds to the backlog, and later arrivals wait longer than earlier ones.
Simulations below and above capacity check this in the tests.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_CHANCE = 2.5
"""Standard deviations of the arrivals that a healthy server may be behind by chance (Poisson service)."""
_SHARE = 0.1
"""Least share of the arrivals by which completions must be behind, however many there are."""
_LATE = 0.25
"""Least share of the backlog's growth that falls into the second half; half of it where growth is even."""
_SLOWER = 0.3
"""Least rise of the latency from the first to the last third, relative to what the backlog implies."""


@dataclass(frozen=True)
class Arrival:
    """One request of an open loop. Times in seconds from the window's begin."""

    scheduled: float
    end: float
    """When its answer ended, or when the load generator stopped watching."""
    first: float | None
    """When its first token came; None where none did."""
    known: bool
    """Whether ``end`` is an end, and not only where watching stopped."""


def overloaded(requests: Sequence[Arrival], window_s: float) -> str | None:
    """Why the server is called overloaded, or None. ``requests`` holds all of them, warm-up and cool-down included."""
    scheduled = np.array([r.scheduled for r in requests])
    ends = np.array([r.end if r.known else max(r.end, window_s) for r in requests])
    arrived = int(((scheduled >= 0) & (scheduled < window_s)).sum())
    begin, middle, end = (_backlog(scheduled, ends, at) for at in (0.0, window_s / 2, window_s))
    grown = end - begin
    if grown < max(_CHANCE * arrived**0.5, _SHARE * arrived) or end - middle < _LATE * grown:
        return None
    inside = [r for r in requests if 0 <= r.scheduled < window_s]
    implied = grown / arrived * window_s * 2 / 3  # the middles of the first and the last third are so far apart
    if not any(_rise(inside, window_s, first) >= _SLOWER * implied for first in (True, False)):
        return None
    return (
        f"{arrived} requests arrived in the window and {arrived - grown} ended: the backlog grew from {begin} to {end}"
    )


def _backlog(scheduled: Floats, ends: Floats, at: float) -> int:
    """Requests that have arrived before a moment and have not ended by then."""
    return int(((scheduled < at) & (ends >= at)).sum())


def _rise(inside: Sequence[Arrival], window_s: float, first: bool) -> float:
    """By how much the median latency of the last third of arrivals is above that of the first third, in seconds.

    Those that were watched less long than others would look faster, so all are cut to the shortest watch. Infinite
    where most of the last third outlived it.
    """
    waits = [(r.first if first and r.first is not None else r.end) - r.scheduled for r in inside]
    unknown = [wait for r, wait in zip(inside, waits, strict=True) if not (r.known or (first and r.first is not None))]
    cap = min(unknown, default=float("inf"))
    at = np.array([r.scheduled for r in inside])
    cut = np.minimum(np.array(waits), cap)
    early = cut[at < window_s / 3]
    late = cut[at >= window_s * 2 / 3]
    if not len(early) or not len(late):
        return 0.0
    if float(np.median(late)) >= cap:
        return float("inf")
    return float(np.median(late) - np.median(early))
