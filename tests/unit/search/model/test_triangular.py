"""Triangular systems of all sizes around that of a block."""

import numpy as np
import pytest

from autotuner.search.model.triangular import lower_solved, upper_solved


@pytest.mark.parametrize("size", [0, 1, 47, 48, 49, 130])
@pytest.mark.parametrize("sides", [(), (3,)], ids=["vector", "matrix"])
def test_solutions_fulfil_their_systems(size: int, sides: tuple[int, ...]) -> None:
    random = np.random.default_rng(size)
    root = np.tril(random.uniform(-1, 1, (size, size))) + 3 * np.eye(size)
    right = random.standard_normal((size, *sides))
    before = right.copy()
    assert root @ lower_solved(root, right) == pytest.approx(right)
    assert root.T @ upper_solved(root, right) == pytest.approx(right)
    assert (right == before).all()
