"""How much each part of a model matters, learned from the observations.

A part is the effect of one parameter, of the load, of the GPUs, of all interactions, of single servers or of single
levels. Before the first measurement all parts have the scales of :mod:`scales`. In a study, though, one parameter may
change a metric tenfold and another one not at all. If one amplitude had to explain both, the model would also expect
ten times as much of the interactions and of every single server, and could not tell good configurations apart.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotuner.search.model import scales
from autotuner.search.model.encoding import FIXED, Array

_STEPS = 12
_LONGEST = 1.0
"""Longest step of a factor's logarithm: the likelihood is far from quadratic."""
_SHORTEST = 1e-3
_ENOUGH = 0.1
"""Expected gain of the log density below which steps end."""


@dataclass(frozen=True)
class Parts:
    """Covariance of some observations, by what it comes from."""

    own: Array
    """Of each part, by part and two observations."""
    fixed: Array
    """Of the columns with fixed scales."""
    roots: tuple[Array | None, ...] = ()
    """A square root of each part that has a narrow one; empty: none is known."""

    def __len__(self) -> int:
        return len(self.own)


@dataclass(frozen=True)
class Learned:
    """Factors of the scales of all parts, for one amplitude."""

    amplitude: float
    logs: Array
    """Natural logarithms of the factors."""
    precision: Array
    """Of the logarithms, given the observations."""

    @property
    def factors(self) -> Array:
        """The factors."""
        found: Array = np.exp(self.logs)
        return found

    @property
    def log_prior(self) -> float:
        """What the factors add to the evidence of a model: how likely they were before, and how many others would do
        (Laplace's approximation)."""
        expected = 1 / scales.RELEVANCE**2
        return -0.5 * (expected * float(self.logs @ self.logs) + float(np.linalg.slogdet(self.precision / expected)[1]))

    def toward(self, amplitude: float) -> Array:
        """About the logarithms for another amplitude. What the observations say is about the product of both."""
        other = np.full(len(self.logs), math.log(amplitude / self.amplitude))
        found: Array = self.logs - other + np.linalg.solve(self.precision, other / scales.RELEVANCE**2)
        return found


def parts(columns: Array, of_columns: NDArray[np.int_], *others: Array) -> Parts:
    """The parts of the observations' covariance.

    Args:
        columns: Columns times the standard deviations of their weights.
        of_columns: Number of the part of each column, or ``FIXED``.
        others: Covariances of further parts.
    """
    numbers = range(int(of_columns.max(initial=FIXED)) + 1)
    roots = [columns[:, of_columns == number] for number in numbers]
    own = [_product(root) for root in roots]
    narrow = [root if 2 * root.shape[1] < len(root) else None for root in roots]
    fixed = _product(columns[:, of_columns == FIXED])
    return Parts(np.array([*own, *others]), fixed, (*narrow, *(None for _ in others)))


def learned(found: Parts, amplitude: float, noise: Array, rest: Array, start: Array) -> Learned:
    """The most likely factors, by Fisher scoring.

    Args:
        found: The parts, at an amplitude of 1.
        amplitude: Common factor of all scales.
        noise: Covariance of the observations' noise.
        rest: Observations less what was expected of them.
        start: Logarithms of factors from which the search starts.
    """
    posterior = _Posterior(found, amplitude, noise, rest)
    logs = start
    value, root = posterior.at(logs)
    gradient, precision = posterior.derivatives(logs, root)
    for _ in range(_STEPS):
        step = np.linalg.solve(precision, gradient)
        if float(step @ gradient) < 2 * _ENOUGH:
            break
        size = min(1.0, _LONGEST / float(np.abs(step).max()))
        new, root = posterior.at(logs + size * step)
        while new < value and size > _SHORTEST:
            size /= 4
            new, root = posterior.at(logs + size * step)
        logs = logs + size * step
        value = new
        gradient, precision = posterior.derivatives(logs, root)
    return Learned(amplitude, logs, precision)


class _Posterior:
    """Density of the logarithms of the parts' factors, given the observations."""

    def __init__(self, found: Parts, amplitude: float, noise: Array, rest: Array) -> None:
        self._own = amplitude**2 * found.own
        self._flat = self._own.reshape(len(found), -1)
        self._fixed = amplitude**2 * found.fixed + noise
        self._rest = rest
        self._expected = 1 / scales.RELEVANCE**2
        narrow = [(i, root) for i, root in enumerate(found.roots) if root is not None and root.shape[1]]
        self._narrow = np.array([i for i, _ in narrow], int)
        self._wide = np.setdiff1d(np.arange(len(found)), self._narrow)
        roots = [root for _, root in narrow]
        self._roots = amplitude * np.hstack(roots) if roots else np.empty((len(rest), 0))
        self._starts = np.cumsum([0, *(root.shape[1] for root in roots[:-1])])[: len(roots)]

    def at(self, logs: Array) -> tuple[float, Array]:
        """The log density, and the Cholesky factor of the observations' covariance."""
        covariance = (np.exp(2 * logs) @ self._flat).reshape(self._fixed.shape) + self._fixed
        root: Array = np.linalg.cholesky(covariance).astype(np.float64)
        missed = np.linalg.solve(root, self._rest)
        likelihood = -0.5 * float(missed @ missed) - float(np.log(np.diag(root)).sum())
        return likelihood - 0.5 * self._expected * float(logs @ logs), root

    def derivatives(self, logs: Array, root: Array) -> tuple[Array, Array]:
        """Gradient and expected precision."""
        inverse_root = np.linalg.inv(root)
        inverse = inverse_root.T @ inverse_root
        weighted = inverse @ self._rest
        squares = np.exp(2 * logs)
        traces, products = self._traces(inverse)
        gradient = squares * (self._flat @ np.outer(weighted, weighted).ravel() - traces)
        information = 2 * np.outer(squares, squares) * products
        return gradient - self._expected * logs, information + self._expected * np.eye(len(logs))

    def _traces(self, inverse: Array) -> tuple[Array, Array]:
        """Traces of the parts times the precision of the observations, and of products of two of these. Most parts are
        products of a few columns, which takes much less time than products of whole matrices."""
        count = len(self._own)
        traces = np.zeros(count)
        products = np.zeros((count, count))
        wide = inverse @ self._own[self._wide]
        traces[self._wide] = np.trace(wide, axis1=1, axis2=2)
        flat = wide.reshape(len(wide), inverse.size)
        products[np.ix_(self._wide, self._wide)] = flat @ wide.transpose(0, 2, 1).reshape(flat.shape).T
        if len(self._narrow):
            turned = inverse @ self._roots
            inner = self._roots.T @ turned
            traces[self._narrow] = np.add.reduceat(np.diag(inner), self._starts)
            by_row = np.add.reduceat(inner**2, self._starts, axis=0)
            products[np.ix_(self._narrow, self._narrow)] = np.add.reduceat(by_row, self._starts, axis=1)
            mixed = np.add.reduceat((self._roots * (wide @ turned)).sum(axis=1), self._starts, axis=1)
            products[np.ix_(self._wide, self._narrow)] = mixed
            products[np.ix_(self._narrow, self._wide)] = mixed.T
        return traces, products


def _product(columns: Array) -> Array:
    found: Array = columns @ columns.T
    return found
