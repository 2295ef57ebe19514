"""What a twin expects of a load."""

import numpy as np

from autotuner.capacity.twin.control import Control
from autotuner.capacity.twin.expected_misses import capacity_of, expected_share
from autotuner.capacity.twin.fit import Floats, simulate
from autotuner.capacity.twin.model import Latency, TwinModel

CONTROL = Control(TwinModel(0.01, 0.0, 0.0), Latency.E2E, spread=0.001)
RATE = 10.0


def lengths(random: np.random.RandomState, count: int) -> tuple[Floats, Floats]:
    return np.ones(count), random.uniform(0, 1, count)


def steep(_: TwinModel, __: Latency, arrivals: Floats, ___: Floats, outputs: Floats) -> Floats:
    """Latencies of a server on which 1% of the requests miss at ``RATE``."""
    share = min(0.5, 0.01 * (len(arrivals) / arrivals[-1] / RATE) ** 20)
    return np.where(outputs < share, 2.0, 0.1)


def tokens(random: np.random.RandomState, count: int) -> tuple[Floats, Floats]:
    return np.ones(count), random.uniform(50, 150, count)


def test_the_capacity_is_exact_although_misses_cluster() -> None:
    model = TwinModel(step=0.01, per_request=0.0004, prefill=0.02, slots=32)
    control = Control(model, Latency.TTFT, spread=0.01)
    found = capacity_of(control, 0.5, 0.01, (3.0, 30.0), tokens)
    random = np.random.RandomState(1)
    count = 300_000
    arrivals = np.cumsum(random.exponential(1 / found, count))
    latencies = simulate(model, Latency.TTFT, arrivals, *tokens(random, count))
    assert 0.0085 < (latencies > 0.5).mean() < 0.0118


def test_the_expected_share_has_its_standard_error() -> None:
    found = expected_share(CONTROL, 1.0, 0.01, RATE, lengths, steep)
    assert found is not None
    assert abs(found.expected - 0.01) < 4 * found.error
    assert 0 < found.error < 0.001


def test_a_load_that_a_twin_cannot_take_is_not_predicted() -> None:
    assert expected_share(CONTROL, 1.0, 0.01, 1.05 * RATE, lengths, steep) is not None
    model = Control(TwinModel(0.01, 0.0, 0.0, slots=1), Latency.E2E, spread=0.001)
    assert expected_share(model, 1.0, 0.01, 200.0, lambda _, count: (np.ones(count), np.ones(count))) is None
