"""Scores of candidates from joint draws."""

import numpy as np
import pytest

from autotuner.search.model.acquisition import LITTLE, Scores, best, scores
from autotuner.search.model.encoding import Array
from autotuner.search.model.worth import Worth

REACHED = np.log([[1.0]])


def scores_of(
    values: list[list[float]],
    *,
    missed: list[list[float]] | None = None,
    starts: list[list[bool]] | None = None,
    running: int = 0,
    reached: Array = REACHED,
) -> Scores:
    """Scores from one objective's values, by draw and configuration."""
    value = np.log(np.array(values))
    worth = Worth(value[:, :, None], np.zeros_like(value) if missed is None else np.array(missed))
    launched = np.ones_like(value, bool) if starts is None else np.array(starts)
    return scores(worth, reached, np.ones((len(values), 1)), launched, running)


def test_within_5_percent_of_the_best_and_2_percent_better_than_every_trial() -> None:
    found = scores_of([[2.0, 1.95, 1.5, 1.0]])
    gain = np.log([2.0, 1.95, 1.5, 1.0])
    assert found.score == pytest.approx(np.array([1, 1, 0, 0]) + gain + LITTLE)
    assert found.improves.tolist() == [1, 1, 1, 0]
    assert scores_of([[1.01, 0.5]]).score == pytest.approx([np.log(1.01) + LITTLE, LITTLE]), "too little to launch it"


def test_what_does_not_start_or_misses_an_slo_does_not_count() -> None:
    found = scores_of([[2.0, 3.0, 4.0]], missed=[[0.0, 0.5, 0.0]], starts=[[True, True, False]])
    assert best(found.score) == 0
    assert found.improves.tolist() == [1, 0, 0]
    assert found.feasible.tolist() == [1, 0, 1], "whether the SLOs hold if it starts"


def test_a_draw_whose_best_configuration_is_running_has_nothing_more_to_find() -> None:
    values = [[2.0, 1.0, 2.0], [1.0, 2.0, 1.0]]
    beside = scores_of(values, running=1)
    assert len(beside.score) == 2
    alone = scores_of(values, running=1, starts=[[True, True, False], [True, True, False]])
    assert alone.score - beside.score == pytest.approx([0.5, 0])


def test_without_a_feasible_configuration_the_one_that_misses_least_is_best() -> None:
    none = np.empty((0, 1))
    found = scores_of([[9.0, 1.0, 1.0]], missed=[[0.9, 0.1, 0.4]], reached=none)
    assert best(found.score) == 1
    assert found.improves.tolist() == [0, 0, 0]


def test_of_equal_scores_the_first_is_best() -> None:
    assert best(np.array([0.1, 0.5, 0.5 + 1e-13, 0.2])) == 1
