"""Scales of the parts of a model, learned from what matters in a study."""

from dataclasses import replace

import numpy as np
import pytest

from autotuner.search.model import scales
from autotuner.search.model.encoding import FIXED, Array
from autotuner.search.model.posterior import Design, Observations, fit
from autotuner.search.model.relevance import Parts, learned, parts

RANDOM = np.random.default_rng(7)
COLUMNS = np.hstack([np.ones((24, 1)), RANDOM.uniform(-0.5, 0.5, (24, 3))])
OF_COLUMNS = np.array([FIXED, 0, 1, 2])
NOISE = 0.02
STRONG = 1.0 + COLUMNS @ np.array([0.0, 6.0, 0.0, 0.5]) + NOISE * RANDOM.standard_normal(24)
"""The first parameter matters twelve times as much as the third one; the second one does not matter."""
LAUNCHES = np.arange(24)


def found() -> Parts:
    return parts(COLUMNS, OF_COLUMNS)


def log_posterior(made: Parts, logs: Array, rest: Array) -> float:
    covariance = np.tensordot(np.exp(2 * logs), made.own, 1) + made.fixed + NOISE**2 * np.eye(len(rest))
    log_likelihood = -0.5 * rest @ np.linalg.solve(covariance, rest) - 0.5 * np.linalg.slogdet(covariance)[1]
    return float(log_likelihood - logs @ logs / 2 / scales.RELEVANCE**2)


def test_the_covariance_is_the_sum_of_its_parts() -> None:
    other = np.eye(24)
    made = parts(COLUMNS, OF_COLUMNS, other)
    assert len(made) == 4
    assert made.own.sum(axis=0) + made.fixed == pytest.approx(COLUMNS @ COLUMNS.T + other)


def test_factors_are_the_most_likely_ones() -> None:
    best = learned(found(), 1.0, NOISE**2 * np.eye(24), STRONG - 1.0, np.zeros(3))
    top = log_posterior(found(), best.logs, STRONG - 1.0)
    for step in 0.4 * np.vstack([np.eye(3), -np.eye(3)]):
        assert log_posterior(found(), best.logs + step, STRONG - 1.0) < top
    strong, none, weak = np.exp(best.logs)
    assert strong > 2
    assert none < weak < 1


def test_the_start_does_not_matter() -> None:
    noise = NOISE**2 * np.eye(24)
    one = learned(found(), 1.0, noise, STRONG - 1.0, np.zeros(3))
    other = learned(found(), 1.0, noise, STRONG - 1.0, np.array([-2.0, 1.0, 2.0]))
    assert one.logs == pytest.approx(other.logs, abs=0.5)
    values = [log_posterior(found(), best.logs, STRONG - 1.0) for best in (one, other)]
    assert values[0] == pytest.approx(values[1], abs=0.2)


def test_narrow_parts_give_the_same_factors_as_whole_matrices() -> None:
    made = parts(COLUMNS, OF_COLUMNS, np.eye(24))
    assert [root is None for root in made.roots] == [False, False, False, True]
    whole = replace(made, roots=())
    for start in (np.zeros(4), np.array([-2.0, 1.0, 2.0, 0.5])):
        one, other = (learned(p, 1.3, NOISE**2 * np.eye(24), STRONG - 1.0, start) for p in (made, whole))
        assert one.logs == pytest.approx(other.logs)
        assert one.precision == pytest.approx(other.precision)


def test_an_amplitude_counts_as_a_factor_of_all_parts() -> None:
    noise = NOISE**2 * np.eye(24)
    doubled = Parts(4 * found().own, 4 * found().fixed)
    one = learned(found(), 2.0, noise, STRONG - 1.0, np.zeros(3))
    assert one.logs == pytest.approx(learned(doubled, 1.0, noise, STRONG - 1.0, np.zeros(3)).logs)


def test_what_does_not_vary_keeps_its_scale_and_costs_nothing() -> None:
    made = parts(np.zeros((24, 2)), np.array([0, 1]))
    best = learned(made, 1.0, np.eye(24), STRONG, np.zeros(2))
    assert best.logs == pytest.approx(np.zeros(2))
    assert best.log_prior == pytest.approx(0.0)


def designs() -> tuple[Design, Design]:
    """Each observation is one server; with learned scales, and with fixed ones."""
    columns = np.hstack([COLUMNS, np.eye(24)])
    deviations = np.full(28, 0.2)
    numbers = np.array([*OF_COLUMNS, *[3] * 24])
    return (
        Design(columns, np.ones(24), deviations, 0.2, np.full(24, -1), 0.0, LAUNCHES, numbers),
        Design(columns, np.ones(24), deviations, 0.2, np.full(24, -1), 0.0, LAUNCHES),
    )


def test_a_parameter_that_matters_much_does_not_widen_what_is_expected_of_single_servers() -> None:
    """With fixed scales, the amplitude that the first parameter needs holds for all parts."""
    seen = Observations(STRONG, np.full(24, NOISE**2), LAUNCHES, np.zeros(24, bool))
    new = np.array([[1.0, 0.1, 0.1, 0.1, *[0.0] * 24]])
    spreads = []
    for design in designs():
        likely = max(fit("structured", design, seen, 0.0), key=lambda m: m.log_evidence)
        point = Design(new, np.ones(1), design.deviations, 0.2, np.zeros(1, int), 0.0, np.array([99]), design.parts)
        spreads.append(float(likely.draw(np.random.default_rng(1), 4000, point).std()))
    learned_scales, common = spreads
    assert learned_scales < 2 * NOISE
    assert common > 4 * NOISE


def test_draws_have_the_learned_scales() -> None:
    """As in the exact conditional distribution."""
    seen = Observations(STRONG, np.full(24, NOISE**2), LAUNCHES, np.zeros(24, bool))
    design = replace(designs()[0], level=0.1)
    new = np.array([[1.0, 0.3, 0.1, -0.2, *[0.0] * 24]])
    point = Design(new, np.ones(1), design.deviations, 0.2, np.zeros(1, int), 0.1, np.array([99]), design.parts)
    for member in fit("structured", design, seen, 0.0):
        prior = np.diag(member.weights.deviations**2)
        level = (0.1 * member.level) ** 2
        covariance = design.columns @ prior @ design.columns.T + (NOISE**2 + level) * np.eye(24)
        gain = new @ prior @ design.columns.T @ np.linalg.inv(covariance)
        own = (0.2 * member.server) ** 2 + level
        drawn = member.draw(np.random.default_rng(3), 20_000, point)
        variance = float((new @ prior @ new.T - gain @ design.columns @ prior @ new.T)[0, 0]) + own
        assert drawn.mean() == pytest.approx(1 + float((gain @ (STRONG - 1))[0]), abs=0.01)
        assert drawn.var() == pytest.approx(variance, rel=0.05, abs=1e-5)


def test_learned_scales_explain_the_observations_better() -> None:
    seen = Observations(STRONG, np.full(24, NOISE**2), LAUNCHES, np.zeros(24, bool))
    own, fixed = (max(m.log_evidence for m in fit("structured", d, seen, 0.0)) for d in designs())
    assert own > fixed
