"""Distribution of the weights of the model's columns, given the measurements of earlier studies."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autotuner.search.model import scales
from autotuner.search.model.encoding import Array, Index
from autotuner.study.search.evidence import EarlierStudy, Facet

_JITTER = 1e-8
_MOST_DOUBTED = 120
"""Rows of one study from which its additional noise is chosen, out of a dozen levels."""


@dataclass(frozen=True)
class Recalled:
    """What earlier studies say about some weights: a normal distribution."""

    at: Index
    """Columns of these weights."""
    mean: Array
    root: Array
    """Square root of their covariance."""
    log_evidence: float
    """How well the model with this amplitude explains the earlier measurements."""


@dataclass(frozen=True)
class Rows:
    """Earlier measurements of one quantity."""

    columns: Array
    deviations: Array
    """Prior standard deviation of each column's weight, before the amplitude."""
    at: Index
    """Where these columns are among those of the present study."""
    rest: Array
    """Logarithms less what was expected of them."""
    variances: Array
    studies: Index
    launches: Index
    others: Array
    """Columns that the present study does not have, times the standard deviations of their weights."""
    level: float
    """Standard deviation of the effect of a single level of a server."""


def relations(studies: Sequence[EarlierStudy]) -> Array:
    """How much of a weight's variance each two studies share; the present one is the last."""
    found = np.zeros((len(studies) + 1, len(studies) + 1))
    for i, one in enumerate(studies):
        found[i, -1] = found[-1, i] = scales.SHARED + scales.SHARED_PER_FACET * len(one.shared)
        for j, other in enumerate(studies):
            common = sum(one.facets.get(f) == other.facets.get(f) for f in Facet)
            found[i, j] = scales.SHARED + scales.SHARED_PER_FACET * common
    np.fill_diagonal(found, 1.0)
    return found


def recall(rows: Rows, related: Array, factor: float) -> tuple[Recalled, ...]:
    """What is known of the weights, by amplitude.

    Args:
        rows: The earlier measurements.
        related: See :func:`relations`.
        factor: Of all scales of the quantity.
    """
    scaled = rows.columns * rows.deviations
    common = related[np.ix_(rows.studies, rows.studies)]
    prior = (scaled @ scaled.T + rows.others @ rows.others.T) * common + rows.level**2 * np.eye(len(common))
    noise = scales.LAUNCH_NOISE**2 * np.equal.outer(rows.launches, rows.launches)
    noise += np.diag(rows.variances + _JITTER)
    noise += _doubts(prior, noise, rows, factor)
    # In terms of rows with independent noise of variance 1, all amplitudes share their principal directions.
    root = np.linalg.cholesky(noise)
    whitened = np.linalg.inv(root)
    variances, directions = np.linalg.eigh(whitened @ prior @ whitened.T)
    turned = directions.T @ whitened
    toward = turned @ (scaled * related[-1, rows.studies][:, None])
    seen = _Seen(variances, turned @ rows.rest, toward, float(np.log(np.diag(root)).sum()))
    return tuple(_recalled(rows, seen, amplitude) for amplitude in scales.AMPLITUDES)


@dataclass(frozen=True)
class _Seen:
    """Earlier measurements along their principal directions."""

    variances: Array
    rest: Array
    toward: Array
    """Covariance with the weights, each divided by its standard deviation."""
    log_noise: float


def _recalled(rows: Rows, seen: _Seen, amplitude: float) -> Recalled:
    deviations = np.sqrt(np.maximum(amplitude**2 * seen.variances, 0.0) + 1.0)
    missed = seen.rest / deviations
    known = amplitude * seen.toward / deviations[:, None]
    left = np.eye(known.shape[1]) * (1 + _JITTER) - known.T @ known
    width = amplitude * rows.deviations
    return Recalled(
        at=rows.at,
        mean=width * (known.T @ missed),
        root=width[:, None] * np.linalg.cholesky(left),
        log_evidence=-0.5 * float(missed @ missed) - float(np.log(deviations).sum()) - seen.log_noise,
    )


def _doubts(prior: Array, noise: Array, rows: Rows, factor: float) -> Array:
    """Covariance of the additional noise that explains each study best, of each window or of each launch: results that
    follow no pattern (another load ran beside the server, values were mixed up) must not be learned from."""
    found = np.zeros_like(noise)
    launches = np.equal.outer(rows.launches, rows.launches).astype(float)
    shapes = (np.eye(len(noise)), launches)
    for study in np.unique(rows.studies):
        own = np.flatnonzero(rows.studies == study)
        seen = _some_launches(own, rows.launches[own])
        within = np.ix_(seen, seen)
        best = -np.inf
        for shape in shapes:
            for doubt in scales.DOUBTS:
                extra = (doubt * factor) ** 2
                known = noise[within] + extra * shape[within]
                covariances = (a**2 * prior[within] + known for a in scales.AMPLITUDES)
                explained = max(_log_density(covariance, rows.rest[seen]) for covariance in covariances)
                if explained > best:
                    best = explained
                    found[np.ix_(own, own)] = extra * shape[np.ix_(own, own)]
    return found


def _some_launches(own: Index, launches: Index) -> Index:
    """Rows of a study's launches, spread over the study, as many as the choice of its noise considers: the time
    grows with the third power of their number."""
    different = np.unique(launches)
    step = -(-len(own) // _MOST_DOUBTED)
    found: Index = own[np.isin(launches, different[::step])]
    return found


def _log_density(covariance: Array, rest: Array) -> float:
    root = np.linalg.cholesky(covariance)
    missed = np.linalg.solve(root, rest)
    return -0.5 * float(missed @ missed) - float(np.log(np.diag(root)).sum())
