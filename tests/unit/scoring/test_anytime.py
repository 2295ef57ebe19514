"""The anytime-valid interval: its formula, its coverage at all numbers of pairs at once, and drift."""

import math
from collections.abc import Sequence
from random import Random
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.scoring.anytime import SPREAD, Interval, factor, fewest_pairs, interval

TABLE = {
    (3, 0.05): 10.055,
    (4, 0.05): 6.8771,
    (6, 0.05): 5.3187,
    (12, 0.05): 4.3295,
    (3, 0.05 / 3): 23.6727,
    (4, 0.01): 11.5298,
    (12, 0.01): 5.2901,
}
"""Half-widths in standard errors by (pairs, alpha): where the density of sqrt(1 + pairs * SPREAD) times Student's t is
1 / alpha times that of Student's t, found by bisection."""


def evidence(t: float, pairs: int) -> float:
    """Evidence against a mean from which the observed one differs by ``t`` standard errors, in closed form."""
    freedom = pairs - 1
    spread = 1 + pairs * SPREAD
    ratio = math.log1p(t * t / freedom) - math.log1p(t * t / (freedom * spread))
    return math.exp(pairs / 2 * ratio - math.log(spread) / 2)


def half(found: Interval) -> float:
    return (found.high - found.low) / 2


def likelihood_ratio(differences: Sequence[float], mean: float) -> float:
    """The evidence by numerical integration: effects weighted by their normal density, standard deviations by 1 / s."""
    n = len(differences)
    scale = stdev(differences)
    centered = [(d - mean) / scale for d in differences]
    total = math.fsum(centered)
    squares = math.fsum(c * c for c in centered)
    sigmas = [math.exp(-4 + 10 * i / 800) for i in range(801)]
    reach = 6 * math.sqrt(SPREAD)
    effects = [-reach + 2 * reach * i / 800 for i in range(801)]
    prior = [math.exp(-e * e / (2 * SPREAD)) for e in effects]
    weight = math.fsum(prior)
    null = mixed = 0.0
    for s in sigmas:  # equidistant in log s, so the measure ds / s is constant
        base = n * math.log(s) + squares / (2 * s * s)
        null += math.exp(-base)
        powers = (p * math.exp(e * total / s - n * e * e / 2 - base) for e, p in zip(effects, prior, strict=True))
        mixed += math.fsum(powers) / weight
    return mixed / null


def test_evidence_is_the_integrated_likelihood_ratio() -> None:
    differences = (3.0, 2.6, 3.3, 2.9)
    t = fmean(differences) / (stdev(differences) / math.sqrt(len(differences)))
    assert evidence(t, len(differences)) == pytest.approx(likelihood_ratio(differences, 0.0), rel=0.01)


@pytest.mark.parametrize(("pairs", "alpha"), TABLE)
def test_half_widths(pairs: int, alpha: float) -> None:
    assert factor(pairs, alpha) == pytest.approx(TABLE[pairs, alpha], abs=1e-4)
    assert evidence(factor(pairs, alpha), pairs) == pytest.approx(1 / alpha)


def test_too_few_pairs_decide_nothing() -> None:
    assert (fewest_pairs(0.05), fewest_pairs(0.05 / 3), fewest_pairs(0.01)) == (3, 3, 4)
    assert math.isinf(half(interval([0.1], 0.05)))
    assert math.isinf(half(interval([0.1, 0.1], 0.05)))
    with pytest.raises(ValueError, match="no pairs"):
        interval([], 0.05)


def test_differences_that_agree_by_chance_are_not_certain() -> None:
    found = interval([0.1] * 4, 0.05, noise=0.01)
    assert half(found) == pytest.approx(factor(4, 0.05) * 0.01 / 2)


def misses(studies: int, pairs: int, alpha: float, deviations: tuple[float, float]) -> tuple[float, float]:
    """Share of studies whose interval at some number of pairs lies above, or below, the true difference of 0."""
    source = Random(5)
    above = below = 0
    for _ in range(studies):
        drift = 0.0
        differences: list[float] = []
        high = low = False
        for _ in range(pairs):
            drift += source.gauss(0, 3.0)
            one, other = (drift + source.gauss(0, d) for d in deviations)
            differences.append(other - one)
            found = interval(differences, alpha)
            high |= found.low > 0
            low |= found.high < 0
        above += high
        below += low
    return above / studies, below / studies


@pytest.mark.parametrize("deviations", [(1.0, 1.0), (1.0, 5.0)])
def test_coverage_holds_at_all_numbers_of_pairs_at_once(deviations: tuple[float, float]) -> None:
    """At alpha 20%, more than a tenth may be wrong on neither side; 2,000 studies have a standard error of 0.7%."""
    above, below = misses(2_000, 12, 0.2, deviations)
    assert 0.02 < above < 0.1, "valid, and not uselessly wide"
    assert 0.02 < below < 0.1


values = st.floats(-1, 1)


@given(st.lists(st.tuples(values, values, values), min_size=2, max_size=8))
def test_drift_common_to_a_block_does_not_move_the_interval(blocks: list[tuple[float, float, float]]) -> None:
    still = interval([other - one for one, other, _ in blocks], 0.05)
    drifting = interval([(other + drift) - (one + drift) for one, other, drift in blocks], 0.05)
    assert drifting.center == pytest.approx(still.center, abs=1e-12)
    assert half(drifting) == pytest.approx(half(still), rel=1e-6, abs=1e-9)
