"""Dataset rows for the windows of a run, and which of them each server has received."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from autotuner.benchmarks.loadgen.prompts import DEFAULT_OUTPUT
from autotuner.benchmarks.measuring.datasets.datasets import ESTIMATED, Dataset, read_dataset
from autotuner.benchmarks.measuring.datasets.row_pool import MOST_BYTES, Draw, RowPool, ServerRows
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.study.workload import (
    CapacityLoad,
    Concurrency,
    LoadLevel,
    Pauses,
    Scenario,
    Stages,
    TraceSpeed,
    Users,
    Workload,
)

MOST_ROWS = 100_000
FEWEST_ROWS = 1_000
_FASTEST_TOKEN_S = 0.25e-3
_FASTEST_ANSWER_S = 2e-3
"""No server answers faster than these two, which bounds the rows that a closed loop can use."""
_TURN = 0.6180339887
"""Golden ratio: the fractional parts of its multiples are evenly spread."""
_Key = tuple[object, ...]
"""See :attr:`Dataset.key`."""


@dataclass
class Supply:
    """The rows of one window."""

    rows: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]
    _pool: RowPool
    _draw: Draw
    _server: ServerRows

    def settle(self, used: int) -> None:
        """Ends the window, which has sent the first ``used`` rows."""
        self._pool.settle(self._draw, self._server, used)


def settle(supplies: Sequence[Supply | None], used: Sequence[int] | None = None) -> None:
    """Ends a window.

    Args:
        supplies: Of each part.
        used: Rows that each part has sent; None if the window failed, so that any may have been sent.
    """
    for index, supply in enumerate(supplies):
        if supply is not None and used is not None:
            supply.settle(used[index])
        elif supply is not None:
            supply.settle(len(supply.rows))


class RowSupply:
    """Rows of all datasets of a run."""

    def __init__(self) -> None:
        self._run = secrets.token_hex(8)
        self._lock = Lock()
        """Windows of trials that run at the same time share the datasets and pools."""
        self._datasets: dict[tuple[str, bool], Dataset] = {}
        """Kept for all windows of the run, by path and by whether all turns are sent."""
        self._pools: dict[tuple[_Key, str], RowPool] = {}
        self._launched: WeakKeyDictionary[Endpoint, dict[_Key, ServerRows]] = WeakKeyDictionary()
        self._found: dict[tuple[_Key, str], ServerRows] = {}

    def dataset(self, path: str, *, turns: bool = False) -> Dataset:
        """Reads a dataset and keeps it until its file changes; arguments and errors as for :func:`read_dataset`."""
        with self._lock:
            found = read_dataset(path, turns=turns)
            known = self._datasets.get((path, turns))
            if known is not None and known.key == found.key:
                return known
            if known is not None:
                self._forget(known.key)
            self._datasets[path, turns] = found
            return found

    def _forget(self, key: _Key) -> None:
        """Frees what belongs to a file that has changed since."""
        self._pools = {name: pool for name, pool in self._pools.items() if name[0] != key}
        self._found = {name: rows for name, rows in self._found.items() if name[0] != key}
        for launched in self._launched.values():
            launched.pop(key, None)

    def supplies(
        self, endpoint: Endpoint, window: Window, *, drain_s: float, tokenizer_json: str | None
    ) -> list[Supply | None]:
        """Rows for the scenario of a window, or for each part of a mix; None for what is not a dataset.

        Raises:
            UsageError: A file cannot be used.
        """
        mix = window.scenario.mix
        files = sum(scenario.dataset is not None for scenario in window.scenario.parts)
        weights = [part.weight for part in mix] or [1.0]
        found: list[Supply | None] = []
        try:
            for scenario, weight in zip(window.scenario.parts, weights, strict=True):
                share = weight / sum(weights)
                most_bytes = MOST_BYTES // max(1, files)
                found.append(self._supply(endpoint, window, scenario, share, most_bytes, drain_s, tokenizer_json))
        except BaseException:
            settle(found)
            raise
        return found

    def _supply(
        self,
        endpoint: Endpoint,
        window: Window,
        scenario: Scenario,
        share: float,
        most_bytes: int,
        drain_s: float,
        tokenizer_json: str | None,
    ) -> Supply | None:
        if scenario.dataset is None:
            return None
        path = scenario.dataset
        workload = window.workload
        conversations = scenario.conversations
        dataset = self.dataset(path, turns=conversations is not None)
        dataset.check_api(workload.api)
        with self._lock:
            pool = self._pool(dataset, endpoint, window)
            server = self._server(endpoint, dataset.key)
        # The answers of other parts may be short.
        mean_output = (dataset.mean_output or DEFAULT_OUTPUT) if share == 1 else 1.0
        think = conversations.think if conversations else None
        wanted = rows_wanted(workload, window.level, drain_s, mean_output, think)
        if share < 1:
            wanted = min(wanted, FEWEST_ROWS + round(2 * share * wanted))
        draw = pool.draw(
            server, wanted, reuse=workload.reuse_prompts, tokenizer_json=tokenizer_json, most_bytes=most_bytes
        )
        guess = dataset.estimated and tokenizer_json is None
        return Supply(draw.rows, (*dataset.notes, *([ESTIMATED] if guess else ())), pool, draw, server)

    def _pool(self, dataset: Dataset, endpoint: Endpoint, window: Window) -> RowPool:
        seed = f"{window.workload.seed}:rows"
        begin = 0.0
        if not window.workload.reuse_prompts:
            # A server that this run did not launch may have received rows from an earlier run, hence an order of its
            # own. A study that is resumed keeps its order and begins elsewhere in it.
            seed = seed if endpoint.argv else f"{seed}:{self._run}"
            begin = window.labels.trial * _TURN % 1.0
        known = self._pools.get((dataset.key, seed))
        if known is None:
            known = self._pools[dataset.key, seed] = RowPool(dataset, seed, begin=begin)
        return known

    def _server(self, endpoint: Endpoint, key: _Key) -> ServerRows:
        """A launched server starts with an empty cache; a server at an address is the same one in all trials."""
        if endpoint.argv:
            return self._launched.setdefault(endpoint, {}).setdefault(key, ServerRows())
        return self._found.setdefault((key, endpoint.url), ServerRows())


def rows_wanted(
    workload: Workload, level: LoadLevel, drain_s: float, mean_output: float, think: Pauses | None = None
) -> int:
    """Upper bound of the rows that a window can use. ``think``: pauses between the turns of conversations."""
    span_s = workload.warmup_s + workload.longest_s + drain_s
    fastest = _FASTEST_ANSWER_S + _FASTEST_TOKEN_S * (mean_output if workload.ignore_eos else 1.0)
    if isinstance(level, TraceSpeed | CapacityLoad):
        raise TypeError(f"{level.text} sends no dataset")
    if isinstance(level, Concurrency):
        needed = level.in_flight * (2 + span_s / fastest)
    elif isinstance(level, Users):  # a conversation may have a single turn
        pause = 0.0 if think is None or think.kind == "normal" else think.a
        needed = level.count * (2 + span_s / (fastest + pause))
    elif isinstance(level, Stages):
        ends = level.stages[0].begin * workload.warmup_s + level.stages[-1].end * drain_s
        needed = 1 + level.requests + ends
    else:
        needed = 1 + level.rate * span_s
    return round(min(MOST_ROWS, max(FEWEST_ROWS, needed)))
