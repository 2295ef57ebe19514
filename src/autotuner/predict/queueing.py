"""A queueing model of continuous batching: latencies and throughput of one replica under a steady load.

Requests that run share each step; prompts delay decoding. Two ways of batching are modeled: prompts first, while
decoding waits (SGLang), and prompt chunks in the same steps as decoding (vLLM, llama.cpp).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, sqrt

_BISECTIONS = 14
"""They narrow the batch down to a ten-thousandth of the slots."""
_ROUNDS = 8
"""Fixed-point iterations of the time between two tokens."""
_AGREES = 1e-3
"""Relative change at which the iterations end."""
_MOST_BUSY = 0.97
"""Cap on the share of time spent on prompts: the formulas for the wait diverge at 1."""
_SAMPLED = 64
"""Points at which the progress of a burst is sampled, at most one per request."""


@dataclass(frozen=True)
class Lengths:
    """Tokens of the requests."""

    prompt: float
    output: float
    spread: float = 0.0
    """Standard deviation of the output."""
    cached: float = 0.0
    """Tokens before the prompt that are in the prefix cache."""
    staggered: bool = False
    """Whether the first requests of a closed loop are answered at different lengths, so that requests end apart."""


@dataclass(frozen=True)
class Batching:
    """How a replica forms its steps."""

    step_s: Callable[[float, float], float]
    """Seconds of a step by the number of decoding requests and of prompt tokens in it."""
    slots: float
    """Requests that can run at a time, by their limit and the KV cache."""
    budget: float
    """Prompt tokens that fit into one step."""
    mixed: bool
    """Whether prompts and decoding share steps."""
    queue: float = 1.0
    """Factor of the time that a request waits before its own prompt is computed."""


@dataclass(frozen=True)
class Steady:
    """A steady state. Times in seconds, rates per second, of one replica."""

    ttft_s: float
    tpot_s: float
    requests_s: float


def closed_loop(batching: Batching, lengths: Lengths, concurrency: float) -> Steady:
    """A fixed number of requests in flight; each that ends is replaced at once.

    Requests of equal length that start together also end together, so that their successors arrive as a burst; the
    more their lengths differ, the more evenly they arrive.
    """
    running = max(1.0, min(concurrency, batching.slots))
    cycle = _mixed_cycle if batching.mixed else _burst_cycle
    first_s, tpot_s, cycle_s = cycle(batching, lengths, running)
    # Little's law: a request cannot take longer than the time until the next one starts in its place.
    cycle_s = max(cycle_s, first_s + (lengths.output - 1) * tpot_s)
    # A slot becomes free every cycle_s / running, and concurrency - running requests wait for one in turn.
    waits_s = batching.queue * (concurrency - running) / running * cycle_s
    return Steady(
        ttft_s=first_s + max(0.0, waits_s),
        tpot_s=tpot_s,
        requests_s=running / cycle_s,
    )


def _burst_cycle(batching: Batching, lengths: Lengths, running: float) -> tuple[float, float, float]:
    """(TTFT, TPOT, seconds from one start to the next) if prompts are computed while decoding waits."""
    steps = lengths.output - 1
    step_s = batching.step_s(running, 0.0)
    decode_s = steps * step_s
    if lengths.staggered and steps >= 1:
        return _staggered_cycle(batching, lengths, running)
    all_s, mean_s = _burst(batching, lengths.prompt, running)
    # Lengths that differ by more than the burst takes let requests arrive one by one.
    apart_s = 2 * sqrt(3) * lengths.spread * step_s
    together = all_s / (all_s + apart_s) if all_s > 0 else 1.0
    alone_s = _prompt_s(batching, lengths.prompt, 1.0)
    spread_s = alone_s * running  # computed one at a time, prompts gain nothing from one another
    cycle_s = decode_s + together * all_s + (1 - together) * spread_s
    busy = min(0.95, spread_s / cycle_s)
    queued_s = batching.queue * (step_s / 2 + busy * alone_s / (2 * (1 - busy)))
    ttft_s = together * (alone_s + batching.queue * (mean_s - alone_s)) + (1 - together) * (alone_s + queued_s)
    first_s = together * mean_s + (1 - together) * (alone_s + queued_s)
    tpot_s = (cycle_s - first_s) / steps if steps > 0 else 0.0
    return ttft_s, max(tpot_s, step_s), cycle_s


def _staggered_cycle(batching: Batching, lengths: Lengths, running: float) -> tuple[float, float, float]:
    """The same if requests do not start together, for both ways of batching.

    Requests end, and others begin, only after decoding steps. Those that happen to end after the same step form a
    group, whose prompts are computed at once; all other requests wait for them, or decode in the same steps. More
    requests make more and larger groups, so no latency falls.
    """
    steps = lengths.output - 1
    step_s = batching.step_s(running, 0.0)
    groups = steps * (1 - (1 - 1 / steps) ** running)  # occupied ones of as many places as there are steps
    group = running / groups
    own = 1 + (running - 1) / steps  # most requests are in large groups
    waits_s = step_s / 2 * min(1.0, running - 1)  # it arrives while the next step is computed
    if not batching.mixed:
        prompt_s = _prompt_s(batching, lengths.prompt, own)
        tpot_s = step_s + (groups - 1) * _prompt_s(batching, lengths.prompt, group) / steps
    else:
        chunks = max(1, ceil(lengths.prompt * group / batching.budget - 1e-9))
        chunk_s = batching.step_s(max(0.0, running - group), lengths.prompt * group / chunks)
        busy = min(_MOST_BUSY, (groups - 1) * chunks / steps)
        # No two groups begin at the same step, so only those of several chunks meet: a Geo/D/1 queue.
        waits_s += busy * (chunks - 1) / (2 * (1 - busy)) * chunk_s
        own_chunks = max(1, ceil(lengths.prompt * own / batching.budget - 1e-9))
        prompt_s = own_chunks * batching.step_s(max(0.0, running - own), lengths.prompt * own / own_chunks)
        tpot_s = step_s + busy * (chunk_s - step_s)
    first_s = prompt_s + batching.queue * waits_s
    return first_s, tpot_s, first_s + steps * tpot_s


def _burst(batching: Batching, prompt: float, requests: float) -> tuple[float, float]:
    """(seconds until all prompts of a burst are computed, mean over the requests).

    Prompts are computed back to back, in steps that are full but for the last.
    """
    tokens = prompt * requests
    steps = tokens / batching.budget
    if steps <= 1:
        all_s = batching.step_s(0.0, tokens)
        return all_s, all_s
    all_s = steps * batching.step_s(0.0, batching.budget)
    number = min(_SAMPLED, ceil(requests))
    ends = (ceil(steps * (k + 1) / number - 1e-9) for k in range(number))
    return all_s, sum(min(end, steps) for end in ends) / number * all_s / steps


def _prompt_s(batching: Batching, prompt: float, requests: float) -> float:
    """Seconds to compute the prompts of some requests together, in steps of at most the budget."""
    tokens = prompt * requests
    steps = max(1, ceil(tokens / batching.budget - 1e-9))
    return steps * batching.step_s(0.0, tokens / steps)


def _mixed_cycle(batching: Batching, lengths: Lengths, running: float) -> tuple[float, float, float]:
    """(TTFT, TPOT, seconds from one start to the next) if prompts share steps with decoding.

    Requests whose prompts fit into one step start and end together, one group after the other; while a group is
    computed, the others decode.
    """
    more = lengths.output - 1
    if lengths.staggered and more >= 1 and (running - 1) * lengths.prompt / batching.budget <= more:
        return _staggered_cycle(batching, lengths, running)
    group = min(running, max(1.0, batching.budget // lengths.prompt)) if lengths.prompt <= batching.budget else 1.0
    steps = max(1, ceil(lengths.prompt * group / batching.budget - 1e-9))
    others = max(0.0, running - group)
    prompt_step_s = batching.step_s(others, lengths.prompt * group / steps)
    step_s = batching.step_s(running, 0.0)
    group_s = steps * prompt_step_s
    # Each further token takes one step; as many of these as others begin also compute their prompts.
    slow = steps * others / group
    cycle_s = group_s + more * step_s + min(more, slow) * (prompt_step_s - step_s)
    tpot_s = (cycle_s - group_s) / more if more > 0 else 0.0
    filled = lengths.prompt / batching.budget
    if others * filled > more:
        # Prompts fill every step, and those that do not fit wait for their turn.
        full_s = batching.step_s(more / filled, batching.budget)
        cycle_s = running * filled * full_s
        waits_s = max(0.0, cycle_s - more * full_s - group_s)
        return group_s + batching.queue * waits_s, full_s if more > 0 else 0.0, cycle_s
    first_s = _first_s(batching, lengths.prompt, running, group, group_s)
    met = sqrt(others / running) * min(1.0, others / group * group_s / cycle_s)
    first_s += _overlap_s(batching, lengths.prompt, others, group_s, met)
    waits_s = step_s / 2 if lengths.spread * step_s > first_s else 0.0  # for the step in progress
    return first_s + batching.queue * waits_s, tpot_s, cycle_s


def _first_s(batching: Batching, prompt: float, running: float, group: float, group_s: float) -> float:
    """Mean over all groups, of which the last one is smaller."""
    rest = running - running // group * group
    if rest < 1e-9:
        return group_s
    rest_s = _prompt_s(batching, prompt, rest) if group == 1 else batching.step_s(running - rest, prompt * rest)
    return ((running - rest) * group_s + rest * rest_s) / running


def _overlap_s(batching: Batching, prompt: float, others: float, group_s: float, busy: float) -> float:
    """Seconds that a prompt takes longer because steps also hold a part of another prompt.

    Prompts that are computed back to back may start anywhere in a step, and so touch one step more than they fill. The
    delay needs room in a step for a part of another prompt, and a prompt that meets a second one that in turn meets a
    third: its probability is the square of ``busy``, the share of time that prompts are computed.
    """
    filled = prompt / batching.budget
    whole = max(1.0, 1 / filled // 1) * filled
    room = ceil(whole - 1e-9) - whole
    full_s = batching.step_s(others, batching.budget)
    return max(0.0, (filled + 1) * full_s - group_s) * busy**2 * min(1.0, 4 * room)


def peak(batching: Batching, lengths: Lengths) -> float:
    """The highest rate, in requests per second, that a replica can serve."""
    return closed_loop(batching, replace(lengths, staggered=False), batching.slots).requests_s


def open_loop(batching: Batching, lengths: Lengths, rate: float, window_s: float) -> Steady:
    """Requests that arrive as a Poisson process, however slow the server is.

    Beyond the peak the backlog grows as long as the load lasts: the wait is then that of a request in the middle of
    the window.

    Args:
        batching: The replica.
        lengths: Of the requests.
        rate: Arrivals per second.
        window_s: Duration of the load.
    """
    full = closed_loop(batching, replace(lengths, staggered=False), batching.slots)
    most = full.requests_s
    if rate >= most:
        late_s = full.ttft_s + batching.queue * window_s / 2 * (1 - most / rate)
        almost_s = _loaded(batching, lengths, batching.slots, most)[1]  # more load does not make it faster
        return Steady(late_s, max(full.tpot_s, almost_s), most)
    low = 0.0
    high = batching.slots
    for _ in range(_BISECTIONS):  # Little's law: the batch equals the arrivals while one request decodes
        batch = (low + high) / 2
        if rate * (lengths.output - 1) * _loaded(batching, lengths, batch, rate)[1] > batch:
            low = batch
        else:
            high = batch
    ttft_s, tpot_s = _loaded(batching, lengths, high, rate)
    return Steady(ttft_s, tpot_s, rate)


def _loaded(batching: Batching, lengths: Lengths, batch: float, rate: float) -> tuple[float, float]:
    """(TTFT, TPOT) beside a batch of decoding requests, with the prompts that arrive meanwhile."""
    decoding = max(1.0, batch)
    alone_s = batching.step_s(decoding, 0.0)
    token_s = alone_s
    together = 1.0
    whole_s = 0.0
    more_s = 0.0
    for _ in range(_ROUNDS):
        # Prompts that arrive during one step are computed together in the next.
        together = max(1.0, rate * token_s)
        steps = max(1, ceil(lengths.prompt * together / batching.budget - 1e-9))
        beside = decoding if batching.mixed else 0.0
        whole_s = steps * batching.step_s(beside, lengths.prompt * together / steps)
        more_s = whole_s - (steps * alone_s if batching.mixed else 0.0)
        share = min(_MOST_BUSY, rate / together * more_s)
        before_s = token_s
        token_s = sqrt(token_s * alone_s / (1 - share))  # half a step in logs, so that it does not oscillate
        if abs(token_s - before_s) < _AGREES * token_s:
            break
    prompt_s = _least_s(batching, lengths.prompt, decoding if batching.mixed else 0.0)
    busy = min(_MOST_BUSY, rate * prompt_s)
    # Prompts wait for each other as in an M/D/1 queue. Those that queue up behind one are computed before its first
    # decoding step.
    behind = busy + busy**2 / (2 * (1 - busy))
    late_s = behind / together * more_s / (1.0 if batching.mixed else 1 - busy)
    waits_s = busy * prompt_s / (2 * (1 - busy)) + min(1.0, batch) * alone_s / 2
    tpot_s = token_s + late_s / max(1.0, lengths.output - 1)
    return whole_s + batching.queue * waits_s, tpot_s


def _least_s(batching: Batching, prompt: float, beside: float) -> float:
    """Seconds per prompt when as many are computed together as fit into a step."""
    together = max(1.0, batching.budget // prompt)
    steps = max(1, ceil(prompt / batching.budget - 1e-9))
    return steps * batching.step_s(beside, prompt * together / steps) / together
