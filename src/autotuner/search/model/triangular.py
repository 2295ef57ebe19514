"""Solutions of triangular systems, for which numpy alone has nothing: its solver decomposes the matrix again."""

import numpy as np

from autotuner.search.model.encoding import Array

_BLOCK = 48
"""Rows that are solved at once; the others are subtracted by products of matrices."""


def lower_solved(root: Array, right: Array) -> Array:
    """Solves ``root @ x = right`` for a lower triangular matrix."""
    found = np.array(right, float)
    for start in range(0, len(root), _BLOCK):
        own = slice(start, start + _BLOCK)
        found[own] -= root[own, :start] @ found[:start]
        found[own] = np.linalg.solve(root[own, own], found[own])
    return found


def upper_solved(root: Array, right: Array) -> Array:
    """Solves ``root.T @ x = right`` for a lower triangular matrix."""
    found = np.array(right, float)
    for start in reversed(range(0, len(root), _BLOCK)):
        own = slice(start, start + _BLOCK)
        end = start + _BLOCK
        found[own] -= root[end:, own].T @ found[end:]
        found[own] = np.linalg.solve(root[own, own].T, found[own])
    return found
