"""Hands out the rows of a dataset in a random order, each of them once.

A prefix cache answers a repeated prompt faster, so rows are handed out once across all windows, levels and trials of a
run. When all have been used, rows follow that this server has not received, and then, marked, those that it has.

The order is a stratified shuffle: every stretch of it contains short and long rows in the same proportions as the file,
so that windows with different rows offer about the same work.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotuner.benchmarks.loadgen.tokens import counter
from autotuner.benchmarks.measuring.datasets.dataset_rows import Row
from autotuner.benchmarks.measuring.datasets.datasets import Dataset

MOST_BYTES = 1 << 27
"""Limit for the rows of one window, those of all parts of a mix together. They are sent to the load generator and held
in its memory."""
_STRATA = 64
_COUNTED = 20_000
"""Answers per window whose tokens are counted; the length of the others is estimated from these."""


def spread_order(costs: NDArray[np.int64], seed: str) -> NDArray[np.int64]:
    """A random permutation of the rows in which every stretch has about the same mix of costs."""
    count = len(costs)
    rng = Random(seed)
    chance = np.array([rng.random() for _ in range(count)])
    ranks = np.empty(count, dtype=np.int64)
    ranks[np.lexsort((chance, costs))] = np.arange(count)
    stratum = ranks * min(_STRATA, count) // count
    shuffled = np.lexsort((chance, stratum))
    sizes = np.bincount(stratum)
    rank = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    jitter = np.array([rng.random() for _ in range(count)])
    key = (rank + jitter) / np.repeat(sizes, sizes)
    return shuffled[np.argsort(key, kind="stable")].astype(np.int64)


@dataclass
class ServerRows:
    """Rows that one server has received from this run."""

    sent: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Draw:
    """Rows for one window, in sending order."""

    indices: tuple[int, ...]
    rows: tuple[dict[str, Any], ...]
    """For the load generator; ``reused`` marks a row whose prompt this server has already received."""


class RowPool:
    """The rows of a dataset in random order.

    Args:
        dataset: The dataset.
        seed: Seed of the order.
        begin: Fraction of the order that comes last instead of first.
    """

    def __init__(self, dataset: Dataset, seed: str, *, begin: float = 0.0) -> None:
        self._dataset = dataset
        order: list[int] = spread_order(dataset.costs, seed).tolist()
        first = int(begin * len(order))
        self._order = order[first:] + order[:first]
        self._duplicate_of: list[int] = dataset.duplicate_of.tolist()
        self._sent = bytearray(len(self._order))
        self._held = bytearray(len(self._order))
        """In use by a window that has not ended yet."""

    def __len__(self) -> int:
        return len(self._order)

    def draw(
        self,
        server: ServerRows,
        wanted: int,
        *,
        reuse: bool = False,
        tokenizer_json: str | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> Draw:
        """Up to ``wanted`` rows for one window, to be followed by :meth:`settle`.

        Args:
            server: The server that the window measures.
            wanted: Number of rows.
            reuse: Draw the same rows every time, including duplicates.
            tokenizer_json: Tokenizer that counts the tokens of answers whose length is only estimated.
            most_bytes: Limit for the rows in bytes; one row is always drawn.
        """
        indices: list[int] = []
        size = 0
        for index in self._order if reuse else self._unused(server):
            size += self._dataset.rows.size(index)
            if indices and (len(indices) >= wanted or size > most_bytes):
                break
            indices.append(index)
        if not reuse:
            for index in indices:
                self._held[self._duplicate_of[index]] = 1
        return Draw(tuple(indices), tuple(self._made(indices, server, tokenizer_json)))

    def settle(self, draw: Draw, server: ServerRows, used: int) -> None:
        """Ends the window of a draw, which has sent the first ``used`` rows."""
        for index in draw.indices:
            self._held[self._duplicate_of[index]] = 0
        for index in draw.indices[:used]:
            self._sent[self._duplicate_of[index]] = 1
            server.sent.add(self._duplicate_of[index])

    def _unused(self, server: ServerRows) -> Iterator[int]:
        taken = set[int]()
        for index in self._order:
            first = self._duplicate_of[index]
            if not self._sent[first] and not self._held[first] and first not in taken:
                taken.add(first)
                yield index
        for index in self._order:
            first = self._duplicate_of[index]
            if first not in server.sent and first not in taken:
                taken.add(first)
                yield index
        for index in self._order:
            if self._duplicate_of[index] not in taken:
                yield index

    def _made(self, indices: Sequence[int], server: ServerRows, tokenizer_json: str | None) -> Iterator[dict[str, Any]]:
        seen = set(server.sent)
        rows = self._dataset.rows.read(indices)
        if self._dataset.estimated and tokenizer_json is not None:
            rows = _counted(rows, tokenizer_json)
        for index, row in zip(indices, rows, strict=True):
            first = self._duplicate_of[index]
            yield {**row.used, "reused": True} if first in seen else row.used
            seen.add(first)


def _counted(rows: Iterable[Row], tokenizer_json: str) -> Iterator[Row]:
    """The rows with counted instead of estimated lengths."""
    count = counter(tokenizer_json)
    characters = tokens = 0
    answers = 0

    def length(answer: str) -> int:
        nonlocal characters, tokens, answers
        answers += 1
        if answers > _COUNTED:
            return round(len(answer) * tokens / max(1, characters))
        found = count(answer)
        characters += len(answer)
        tokens += found
        return found

    for row in rows:
        yield row.with_lengths(length) if row.estimated else row
