"""The part of a trace that is replayed: a time range, and a sample that keeps what prompts share.

Requests with a common prefix, or of one session, belong to a family. A sample keeps or leaves out whole families, since
requests chosen one by one would lose the other turns of their conversation, and with them most prefix hits. A prefix
that very many requests share, such as a system prompt, is shared in any sample and forms no family.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np
from numpy.typing import NDArray

from autotuner.benchmarks.measuring.traces.traces import AFTER_S, Trace, read_trace
from autotuner.errors import UsageError
from autotuner.study.base import number_text
from autotuner.study.workload import TracePart

_BEHIND_S = 1e-3
"""How long a range without an end continues after its last request, which belongs to it."""
_SMALLEST = 8
"""Requests of the largest family, to begin with."""
_SHUFFLED = 4
"""Families are shuffled within spans from which the sample takes about so many."""
_FEWEST_SEEDS = 4
_MOST_SEEDS = 32
_TRIED = 20_000
"""Requests of all samples together, of which the best one is taken: small samples vary more and cost less."""
_HIT_RATE_OFF = 0.005
_LENGTH_OFF = 0.03
_COURSE_OFF = 0.02
"""How far a sample may be from the whole trace before others are tried: in the prefix hit rate, relatively in the mean
lengths, and in the share of the requests that falls into each quarter."""
_QUARTERS = 4


@dataclass(frozen=True)
class Part:
    """A part of a trace. Times in seconds of the trace, from the start of the range."""

    trace: Trace
    """Its requests, with some before and after the range; ``at_s`` is negative before it."""
    span_s: float
    """Length of the range."""
    inside: slice
    """The requests in the range."""
    whole: int
    """Requests of the range before sampling."""
    hit_rate: float
    """Share of the prompt tokens in the range that an unlimited prefix cache, empty at first, would serve."""
    whole_hit_rate: float
    """The same before sampling."""

    @property
    def requests(self) -> int:
        """Requests in the range."""
        return len(range(*self.inside.indices(len(self.trace))))


def read_part(part: TracePart) -> Part:
    """Reads a part of a trace. Raises ``UsageError`` if the file cannot be used or the range has no requests."""
    return _taken(part, read_trace(part.file, end_s=part.end_s))


@lru_cache(maxsize=4)
def _taken(part: TracePart, trace: Trace) -> Part:
    """Cached, because every window of a study replays the same part. Traces are compared by identity."""
    last = float(trace.at_s[-1])
    end = last + _BEHIND_S if part.end_s is None else part.end_s
    first, after, behind = np.searchsorted(trace.at_s, [part.begin_s, end, end + AFTER_S]).tolist()
    if after - first < 1:
        span = f"between {number_text(part.begin_s)} s and {number_text(round(end, 3))} s"
        why = f"the trace has no request {span}; it lasts {number_text(round(last, 3))} s"
        raise UsageError.at(f"workload.scenarios trace:{part.file}", why, remedy="change from and to")
    keep = np.arange(behind)
    whole_rate = hit_rate(trace, range(first, after))
    if part.sample < 1:
        keep = _sampled(trace, first, after, behind, part.sample)
    inside = np.searchsorted(keep, [first, after]).tolist()
    if inside[0] == inside[1]:
        why = f"a sample of {number_text(part.sample, hundredfold=True)}% of {after - first} requests is empty"
        raise UsageError.at(f"workload.scenarios trace:{part.file}", why, remedy="take a larger sample")
    taken = trace.taken(keep)
    return Part(
        trace=taken.moved(part.begin_s),
        span_s=end - part.begin_s,
        inside=slice(*inside),
        whole=after - first,
        hit_rate=hit_rate(taken, range(*inside)) if part.sample < 1 else whole_rate,
        whole_hit_rate=whole_rate,
    )


def hit_rate(trace: Trace, which: Sequence[int]) -> float:
    """Share of the prompt tokens of some requests, in order, that an unlimited prefix cache would serve."""
    cached: dict[int, int] = {}
    """Tokens of each block that are cached, by the block and all those before it; the last block of a prompt may be
    shorter than others."""
    hits = total = 0
    for index in which:
        left = int(trace.inputs[index])
        total += left
        chain = 0
        hit = True
        for block in trace.blocks[index]:
            chain = hash((chain, block))
            size = min(left, trace.block_tokens)
            left -= size
            known = cached.get(chain, 0)
            if hit:
                hits += min(size, known)
                hit = size <= known
            cached[chain] = max(size, known)
    return hits / total if total else 0.0


def families(trace: Trace, which: Sequence[int], largest: int) -> list[list[int]]:
    """Requests that share a session or a prefix, in groups of at most ``largest`` if prefixes allow it."""
    sessions: dict[int, list[int]] = {}
    found: list[list[int]] = []
    begin: list[int] = []
    for index in which:
        session = int(trace.sessions[index])
        if session >= 0:
            sessions.setdefault(session, []).append(index)
        elif trace.blocks[index]:
            begin.append(index)
        else:
            found.append([index])
    groups = [(begin, 0)]
    while groups:
        group, depth = groups.pop()
        if depth and len(group) <= largest:
            found.append(group)
            continue
        branches: dict[int, list[int]] = {}
        for index in group:
            blocks = trace.blocks[index]
            if len(blocks) > depth:
                branches.setdefault(blocks[depth], []).append(index)
            else:
                found.append([index])
        groups += [(branch, depth + 1) for branch in branches.values()]
    return [*found, *sessions.values()]


def _sampled(trace: Trace, first: int, after: int, behind: int, share: float) -> NDArray[np.int64]:
    """Indexes of the requests in a sample, in order.

    Small families spread a sample best over time, but split prefixes that many requests share: each then costs a first
    miss that weighs more among fewer requests. So families grow until the sample resembles the whole trace. The seeds
    are fixed: a sample of a trace is always the same one.
    """
    inside = range(first, after)
    span = (float(trace.at_s[first]), float(trace.at_s[after - 1]))
    whole = _Likeness.of(trace, inside, span)
    seeds = min(_MOST_SEEDS, max(_FEWEST_SEEDS, _TRIED // max(1, round(len(inside) * share))))
    best: list[int] = []
    least = math.inf
    for largest in _sizes(len(inside) * share):
        groups = families(trace, inside, largest)
        for seed in range(seeds):
            drawn = sorted(_drawn(groups, share, Random(seed)))
            off = whole.distance(_Likeness.of(trace, drawn, span)) if drawn else math.inf
            if off < least:
                best = drawn
                least = off
        if least <= 1:
            break
    around: list[int] = []
    for outside in (range(first), range(after, behind)):
        around += _drawn(families(trace, outside, _SMALLEST), share, Random(0))
    return np.array(sorted([*around, *best]), dtype=np.int64)


def _sizes(requests: float) -> list[int]:
    """Sizes of the largest family to try, growing: at most a fifth of the sample."""
    found = [_SMALLEST]
    while found[-1] * 2 <= requests / 5:
        found.append(found[-1] * 2)
    return found


@dataclass(frozen=True)
class _Likeness:
    """Properties that a sample should share with the whole trace."""

    hit_rate: float
    input: float
    output: float
    course: tuple[float, ...]
    """Share of the requests in each quarter of the range."""

    @classmethod
    def of(cls, trace: Trace, which: Sequence[int], span: tuple[float, float]) -> "_Likeness":
        indexes = np.asarray(which, dtype=np.int64)
        counts = np.histogram(trace.at_s[indexes], _QUARTERS, span)[0] / len(indexes)
        return cls(
            hit_rate=hit_rate(trace, which),
            input=float(trace.inputs[indexes].mean()),
            output=float(trace.outputs[indexes].mean()),
            course=tuple(counts.tolist()),
        )

    def distance(self, other: "_Likeness") -> float:
        """Differences relative to the tolerance; 1 is exactly at it."""
        lengths = (abs(b / a - 1) if a else 0.0 for a, b in ((self.input, other.input), (self.output, other.output)))
        course = (abs(b - a) for a, b in zip(self.course, other.course, strict=True))
        return max(
            abs(self.hit_rate - other.hit_rate) / _HIT_RATE_OFF,
            *(off / _LENGTH_OFF for off in lengths),
            *(off / _COURSE_OFF for off in course),
        )


def _drawn(groups: Sequence[list[int]], share: float, rng: Random) -> list[int]:
    """Some of the families: of each span of time and each size in proportion, so that the sample keeps the arrival rate
    over time and the mix of families."""
    ordered = sorted(groups, key=lambda group: (len(group).bit_length(), group[0]))
    size = max(1, round(_SHUFFLED / share))
    kept: list[int] = []
    owed = 0.0
    for begin in range(0, len(ordered), size):
        span = ordered[begin : begin + size]
        rng.shuffle(span)
        for group in span:
            owed += share * len(group)
            if owed >= len(group) / 2:
                kept += group
                owed -= len(group)
    return kept
