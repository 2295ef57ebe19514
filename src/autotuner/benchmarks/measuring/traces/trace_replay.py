"""A part of a trace as the load of one window: its time range at a speed is the window.

The part of the trace before the range is the warm-up, as far back as ``warmup`` reaches; what follows it keeps the
load up until the requests of the window have ended.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from autotuner.benchmarks.loadgen.replay_prompts import checked_texts
from autotuner.benchmarks.loadgen.spec import Replay
from autotuner.benchmarks.measuring.traces.trace_part import Part, read_part
from autotuner.study.check import Check
from autotuner.study.workload import TracePart, Workload

_HIT_RATE_OFF = 0.02
WORDS = (
    "prompts are made of words of about the recorded number of tokens, so prefix blocks are shared word by word; "
    "set workload.tokenizer to make them token-exact"
)


@dataclass(frozen=True)
class ReplayWindow:
    """The load of one window. Times in seconds of the clock, not of the trace."""

    replay: Replay
    duration_s: float
    rate: float
    """Mean requests per second in the window."""
    notes: tuple[str, ...]
    shares: bool
    """Whether prompts share prefix blocks."""


def replay_window(part: TracePart, speed: float, workload: Workload, *, drain_s: float) -> ReplayWindow:
    """The requests of one window. Raises ``UsageError`` if the trace cannot be used."""
    found = read_part(part)
    at_s = found.trace.at_s / speed
    duration_s = found.span_s / speed
    first, last = np.searchsorted(at_s, [-workload.warmup_s, duration_s + drain_s]).tolist()
    first = min(first, found.inside.start)
    last = max(last, found.inside.stop)
    trace = found.trace
    blocks = tuple(trace.blocks[first:last])
    return ReplayWindow(
        replay=Replay(
            at_s=tuple(at_s[first:last].tolist()),
            inputs=tuple(trace.inputs[first:last].tolist()),
            outputs=tuple(trace.outputs[first:last].tolist()),
            blocks=blocks if any(blocks) else (),
            block_tokens=trace.block_tokens,
            texts=checked_texts([trace.texts.get(index) for index in range(first, last)]),
            token_ids=workload.token_ids,
        ),
        duration_s=duration_s,
        rate=found.requests / duration_s,
        notes=tuple(_notes(found)),
        shares=any(blocks),
    )


def trace_check(part: TracePart) -> Check:
    """Describes the trace. Raises ``UsageError`` if it cannot be used."""
    found = read_part(part)
    of = f" of {found.whole:,}" if part.sample < 1 else ""
    detail = f"{found.trace.format} format: {found.requests:,}{of} requests in {found.span_s:,.0f} s"
    if found.whole_hit_rate:
        whole = f" ({found.whole_hit_rate:.1%} without sampling)" if part.sample < 1 else ""
        detail += f", {found.hit_rate:.1%} of the prompt tokens repeat a prefix{whole}"
    notes = [*_notes(found)]
    name = f"trace {part.file}"
    return Check.warn(name, "; ".join([detail, *notes])) if notes else Check.ok(name, detail)


def window_s(part: TracePart, speed: float) -> float:
    """Duration of a window in seconds. Raises ``UsageError`` if the trace cannot be used."""
    return read_part(part).span_s / speed


def _notes(found: Part) -> Iterator[str]:
    if abs(found.hit_rate - found.whole_hit_rate) > _HIT_RATE_OFF:
        yield (
            f"the sample repeats prefixes in {found.hit_rate:.1%} of its prompt tokens, and the whole trace in "
            f"{found.whole_hit_rate:.1%}: take a larger sample"
        )
    if found.trace.left_out:
        yield f"{found.trace.left_out:,} requests of the trace have no prompt or no answer and were left out"
