"""What a search learns from the twin of its server: the levels' request records, and how their lengths were drawn."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autotuner.benchmarks.capacity.question import CapacityQuestion
from autotuner.benchmarks.measuring.level_replay import stored
from autotuner.benchmarks.measuring.records import Records, read_records
from autotuner.capacity.level import Bound
from autotuner.capacity.search import CapacitySearch
from autotuner.capacity.twin.fit import LevelInput
from autotuner.capacity.twin.model import Latency
from autotuner.capacity.twin.prediction import Prediction
from autotuner.study.capacity.level_test import MissControl
from autotuner.study.workload import LoadUnit, TokenLengths

_LATENCIES = {
    "e2e_latency": Latency.E2E,
    "e2e_latency_scheduled": Latency.E2E,
    "tpot": Latency.TPOT,
    "ttft": Latency.TTFT,
    "ttft_scheduled": Latency.TTFT,
}
"""What a twin has of the metrics of bounds."""

Floats = NDArray[np.float64]


class TwinSteps:
    """Predictions for the levels of one search.

    Args:
        question: What is to be found.
        folder: Where the request records of the levels are.
    """

    def __init__(self, question: CapacityQuestion, folder: Path) -> None:
        bounds = [Bound(bound.slo, bound.limit, bound.allowed) for bound in question.bounds]
        latencies = [_LATENCIES.get(bound.metric) for bound in question.bounds]
        self._folder = folder
        self._levels: list[LevelInput] = []
        self._prediction = None
        lengths = question.lengths
        if question.unit is LoadUnit.RATE and lengths is not None:  # whose arrivals are a Poisson process
            self._prediction = Prediction(bounds, latencies, lambda random, count: _drawn(lengths, random, count))

    def add(self, records: str) -> None:
        """Adds the records of a finished level. Raises what reading a damaged file raises."""
        if self._prediction is not None:
            self._levels.append(level_input(read_records(self._folder / Path(records).name)))

    def prepare(self, search: CapacitySearch) -> None:
        """Tells a search the predicted capacities before it chooses its next level."""
        if self._prediction is not None:
            self._prediction.prepare(search, self._levels)

    def controls(self, load: float) -> tuple[MissControl | None, ...]:
        """The controls of a level, one per bound; nothing where none is controlled."""
        if self._prediction is None:
            return ()
        found = tuple(map(stored, self._prediction.controls(load)))
        return found if any(found) else ()


def level_input(records: Records) -> LevelInput:
    """The requests of a level that arrived on schedule, and what was answered."""
    columns = records.columns
    names = (
        "scheduled_ns",
        "index",
        "sent_ns",
        "first_ns",
        "gaps_ns",
        "asked_input",
        "asked_output",
        "error",
        "complete",
    )
    rows = sorted(zip(*(columns[name] for name in names), strict=True), key=lambda row: (int(row[0]), int(row[1])))
    arrivals, inputs, outputs, latencies, firsts = ([] for _ in range(5))
    for scheduled, _, sent, first, gaps, asked_input, asked_output, error, complete in rows:
        arrivals.append((scheduled - rows[0][0]) / 1e9)
        inputs.append(float(asked_input))
        outputs.append(float(asked_output))
        answered = error is None and first is not None
        firsts.append((first - sent) / 1e9 if answered else np.nan)
        latencies.append((first - sent + sum(gaps)) / 1e9 if answered and complete else np.nan)
    return LevelInput(*(np.array(one, dtype=np.float64) for one in (arrivals, inputs, outputs, latencies, firsts)))


def _drawn(lengths: Sequence[TokenLengths], random: np.random.RandomState, count: int) -> tuple[Floats, Floats]:
    """Input and output lengths, drawn as the load generator draws them."""
    inputs, outputs = (_tokens(one, random, count) for one in lengths)
    return inputs, outputs


def _tokens(lengths: TokenLengths, random: np.random.RandomState, count: int) -> Floats:
    if lengths.kind == "normal":
        return np.maximum(1.0, np.rint(random.normal(lengths.a, lengths.b, count)))
    if lengths.kind == "uniform":
        return np.asarray(random.randint(max(1, lengths.a), max(1, lengths.b) + 1, count), dtype=np.float64)
    return np.full(count, max(1.0, lengths.a))
