"""Draws of one quantity, compared with the exact conditional distribution."""

from dataclasses import replace

import numpy as np
import pytest

from autotuner.search.model import scales
from autotuner.search.model.encoding import Array
from autotuner.search.model.posterior import Design, Member, Observations, average, fit

SEEN = np.array([[1.0, -0.5], [1.0, 0.0], [1.0, 0.0], [1.0, 0.5]])
VALUES = np.array([0.3, 0.6, 0.5, 1.1])
LAUNCHES = np.array([0, 1, 2, 3])
NEW = np.array([[1.0, -0.25], [1.0, 1.0]])
DEVIATIONS = np.array([1.0, 0.5])
WINDOW = 0.04
LAUNCH = 0.05


def design(
    columns: Array, mean: float = 0.2, server: float = 0.0, *, new: bool = False, level: float = 0.0, first: int = 0
) -> Design:
    """``first`` is the number of the first row's level."""
    numbers = np.arange(len(columns)) if new else np.full(len(columns), -1)
    levels = first + np.arange(len(columns))
    return Design(columns, np.full(len(columns), mean), DEVIATIONS, server, numbers, level, levels)


def observations(*, values: Array = VALUES, launches: Array = LAUNCHES, bounded: tuple[int, ...] = ()) -> Observations:
    return Observations(values, np.full(len(values), WINDOW**2), launches, np.isin(np.arange(len(values)), bounded))


def members(seen: Observations) -> list[Member]:
    return fit("structured", design(SEEN[: len(seen)]), seen, LAUNCH)


def exact(member: Member, launches: Array) -> tuple[Array, Array]:
    """Mean and covariance at the new points."""
    weights = np.diag((member.amplitude * DEVIATIONS) ** 2)
    noise = WINDOW**2 * np.eye(len(launches)) + LAUNCH**2 * np.equal.outer(launches, launches)
    gain = NEW @ weights @ SEEN.T @ np.linalg.inv(SEEN @ weights @ SEEN.T + noise)
    mean: Array = 0.2 + gain @ (VALUES - 0.2)
    covariance: Array = NEW @ weights @ NEW.T - gain @ SEEN @ weights @ NEW.T
    return mean, covariance


@pytest.mark.parametrize("launches", [LAUNCHES, np.array([0, 1, 1, 1])], ids=["own launches", "one launch of three"])
def test_draws_follow_the_conditional_distribution(launches: Array) -> None:
    for member in members(observations(launches=launches)):
        drawn = member.draw(np.random.default_rng(3), 20_000, design(NEW))
        mean, covariance = exact(member, launches)
        assert drawn.mean(axis=0) == pytest.approx(mean, abs=0.01)
        assert np.cov(drawn.T) == pytest.approx(covariance, rel=0.05, abs=1e-4)


def test_a_server_that_was_not_observed_has_an_effect_of_its_own() -> None:
    member = members(observations())[0]
    known = member.draw(np.random.default_rng(3), 20_000, design(NEW)).var(axis=0)
    new = member.draw(np.random.default_rng(3), 20_000, design(NEW, server=0.4, new=True)).var(axis=0)
    assert new - known == pytest.approx(np.full(2, (0.4 * member.amplitude) ** 2), rel=0.1)


def test_a_level_has_an_effect_of_its_own_that_repeats_share() -> None:
    """The second and third row are two launches of one level; one new row is that level, the other an unknown one."""
    numbers = np.array([0, 1, 1, 2])
    seen = replace(design(SEEN, level=0.3), levels=numbers)
    new = replace(design(SEEN[[1, 1]], level=0.3), levels=np.array([1, 7]))
    for member in fit("structured", seen, observations(), LAUNCH):
        size = (0.3 * member.amplitude) ** 2
        weights = np.diag((member.amplitude * DEVIATIONS) ** 2)
        covariance = SEEN @ weights @ SEEN.T + size * np.equal.outer(numbers, numbers)
        gain = new.columns @ weights @ SEEN.T + size * np.equal.outer(new.levels, numbers)
        gain = gain @ np.linalg.inv(covariance + (WINDOW**2 + LAUNCH**2) * np.eye(4))
        drawn = member.draw(np.random.default_rng(3), 20_000, new)
        assert drawn.mean(axis=0) == pytest.approx(0.2 + gain @ (VALUES - 0.2), abs=0.01)
        cross = new.columns @ weights @ SEEN.T + size * np.equal.outer(new.levels, numbers)
        expected = new.columns @ weights @ new.columns.T + size * np.eye(2) - gain @ cross.T
        assert np.cov(drawn.T) == pytest.approx(expected, rel=0.05, abs=1e-3)


def test_a_value_known_not_to_exceed_a_bound_is_expected_below_it() -> None:
    """Without the bound, about 1.1 would be expected where 0.4 was not exceeded."""
    bound = np.array([0.3, 0.6, 0.5, 0.4])
    end = design(SEEN[-1:])
    bounded = members(observations(values=bound, bounded=(3,)))
    assert [m.observations.bounded.any() for m in bounded] == [False] * len(bounded)
    without = members(observations(values=bound[:3], launches=LAUNCHES[:3]))
    for member, other in zip(bounded, without, strict=True):
        low = member.draw(np.random.default_rng(3), 4000, end).mean()
        assert low < other.draw(np.random.default_rng(3), 4000, end).mean()
    generous = members(observations(values=np.array([0.3, 0.6, 0.5, 50.0]), bounded=(3,)))
    for member, other in zip(generous, without, strict=True):
        loose = member.draw(np.random.default_rng(3), 4000, end).mean()
        assert loose == pytest.approx(other.draw(np.random.default_rng(3), 4000, end).mean(), abs=0.05)


def both_kinds(predicted: Design, structured: Design, seen: Observations) -> list[Member]:
    return [*fit("predicted", predicted, seen, LAUNCH), *fit("structured", structured, seen, LAUNCH)]


def test_before_any_value_the_predictions_have_their_prior_weight() -> None:
    none = observations(values=np.empty(0), launches=np.empty(0, int))
    empty = design(SEEN[:0])
    found = average([both_kinds(empty, empty, none)], np.random.default_rng(5), 4000)
    assert found.predicted == pytest.approx(scales.TRUST)
    other = (1 - scales.TRUST) * scales.OTHER_KIND + scales.TRUST  # one metric may deviate from the kind of the others
    drawn = (found.chosen < len(scales.AMPLITUDES)).mean()
    assert drawn == pytest.approx(other / (1 + scales.OTHER_KIND), abs=0.02)


def test_before_any_value_the_scales_of_predictions_are_likely_to_be_right_within_a_factor_of_two() -> None:
    empty = design(SEEN[:0])
    none = observations(values=np.empty(0), launches=np.empty(0, int))
    chosen = average([fit("predicted", empty, none, LAUNCH)], np.random.default_rng(5), 4000).chosen[0]
    shares = dict(zip(scales.AMPLITUDES, np.bincount(chosen, minlength=len(scales.AMPLITUDES)) / 4000, strict=True))
    assert shares[1.0] > max(shares[0.5], shares[2.0]) > shares[4.0] > 0
    assert shares[0.5] == pytest.approx(shares[2.0], abs=0.05)
    assert shares[4.0] < 0.15


def test_wrong_predictions_lose_their_weight_with_every_metric_that_shows_it() -> None:
    right = design(SEEN)
    wrong = design(np.zeros_like(SEEN))  # predicts the same value everywhere
    quantity = both_kinds(wrong, right, observations())
    weights = [average([quantity] * n, np.random.default_rng(5), 400).predicted for n in (1, 2, 4)]
    assert scales.TRUST > weights[0] > weights[1] > weights[2]
    assert weights[2] < 0.01
    chosen = average([quantity] * 4, np.random.default_rng(5), 400).chosen
    assert chosen.shape == (4, 400)
    assert (chosen >= len(scales.AMPLITUDES)).mean() > 0.95


def test_levels_of_one_launch_count_less_than_launches() -> None:
    quantity = both_kinds(design(SEEN * [1.0, 0.3]), design(SEEN), observations())
    seen = quantity[0].observations
    assert len(np.unique(seen.launches)) == len(seen) == 4
    assert seen.share == 1.0
    one_launch = replace(seen, launches=np.zeros(4, int))
    assert one_launch.share == 0.5
    same = [replace(m, observations=one_launch) for m in quantity]
    weights = [average([own] * 4, np.random.default_rng(5), 400).predicted for own in (quantity, same)]
    assert weights[0] < weights[1] < scales.TRUST
