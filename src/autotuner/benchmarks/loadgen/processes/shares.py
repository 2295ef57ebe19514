"""Division of a window's load among processes: who sends which request. Pure.

Request ``i`` belongs to process ``i mod n``, at the time and with the lengths and the prompt that it would have if one
process sent all of them. In a closed loop, slot ``i`` of those in flight belongs to process ``i mod n``. So does user
``i`` with all of their conversations, since a turn carries the answers to the turns before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import Any, TypeVar

from autotuner.benchmarks.loadgen.prompts import DEFAULT_OUTPUT
from autotuner.benchmarks.loadgen.spec import AUTO, Lengths, Replay, Share, WorkerSpec

T = TypeVar("T")

_IN_FLIGHT = 256
"""Requests in flight per process of ``auto``. A process spends about 10 us on a token; 256 answers of 200 tokens/s,
which few engines give, are half a core."""
_TOKENS_PER_S = 50_000
"""Output tokens per second and process of ``auto``, for a request rate: half a core too."""
_REQUEST_TOKENS = 40
"""What a request costs besides its tokens, in tokens."""


def workers_for(spec: WorkerSpec, cores: int) -> int:
    """Processes that send a window's load.

    Args:
        spec: The window.
        cores: Cores of this machine that the load generator may use.
    """
    wanted = min(_needed(spec), cores) if spec.workers == AUTO else spec.workers
    return max(1, min(wanted, _most(spec)))


def divided(spec: WorkerSpec, workers: int) -> list[WorkerSpec]:
    """The specs of all processes.

    The parent has calibrated ``spec``, and it alone samples the server's metrics and decides about a level.
    """
    return [
        replace(
            spec,
            rows=None if spec.rows is None else spec.rows[index::workers],
            replay=None if spec.replay is None else _part(spec.replay, index, workers),
            # The rows of a mix are not divided, so that all processes must repeat them in the same order.
            row_order=spec.row_order if spec.parts else f"{spec.row_order} {index}",
            server_metrics=None,
            workers=1,
            share=Share(index, workers),
        )
        for index in range(workers)
    ]


def dealt(items: Sequence[T], share: Share) -> Sequence[T]:
    """A process's share of a sequence."""
    return items[share.index :: share.of]


def _needed(spec: WorkerSpec) -> int:
    if spec.slots is not None:
        return ceil(spec.slots / _IN_FLIGHT)
    rate = max([spec.rate or 0.0, *(max(begin, end) for begin, end, _ in spec.stages)])
    return ceil(rate * (_output_tokens(spec) + _REQUEST_TOKENS) / _TOKENS_PER_S)


def _most(spec: WorkerSpec) -> int:
    """Every process needs a request of its own to send."""
    most = [len(part) for part in (spec.rows, spec.replay.at_s if spec.replay else None) if part is not None]
    if spec.slots is not None:
        most.append(spec.slots)
    return min(most, default=spec.workers or 1 << 16)


def _output_tokens(spec: WorkerSpec) -> float:
    """Mean output length."""
    if spec.replay is not None:
        return sum(spec.replay.outputs) / max(1, len(spec.replay.outputs))
    if spec.documents is not None:
        return 0.0
    if spec.parts:
        weights = [part.weight for part in spec.parts]
        means = [_mean_of(part.output, part.rows) for part in spec.parts]
        return sum(w * mean for w, mean in zip(weights, means, strict=True)) / sum(weights)
    return _mean_of(spec.output, spec.rows)


def _mean_of(output: Lengths | None, rows: Sequence[Mapping[str, Any]] | None) -> float:
    if rows:
        return sum(map(_row_output, rows)) / len(rows)
    return _mean(output) if output is not None else DEFAULT_OUTPUT


def _row_output(row: Mapping[str, Any]) -> int:
    return int(row.get("max_tokens") or DEFAULT_OUTPUT)


def _mean(lengths: Lengths) -> float:
    return (lengths.a + lengths.b) / 2 if lengths.kind == "uniform" else lengths.a


def _part(replay: Replay, index: int, workers: int) -> Replay:
    return replace(
        replay,
        at_s=replay.at_s[index::workers],
        inputs=replay.inputs[index::workers],
        outputs=replay.outputs[index::workers],
        blocks=replay.blocks[index::workers],
        texts=replay.texts[index::workers],
    )
