"""Linear models of one quantity, averaged: evidence of each, and joint draws at any points."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autotuner.search.model import scales
from autotuner.search.model.encoding import FIXED, Array
from autotuner.search.model.recall import Recalled
from autotuner.search.model.relevance import Learned, learned, parts
from autotuner.search.model.triangular import lower_solved, upper_solved

_JITTER = 1e-9
_FAR_BELOW = -6.0
"""Standard deviations between a bound and the mean from which on the tail is approximated."""
_SWEEPS = 2
_MOST_ADAPTED = 100
"""Rows from which scales are learned."""


@dataclass(frozen=True)
class Observations:
    """Observed logarithms of one quantity."""

    values: Array
    variances: Array
    """Variance within each window."""
    launches: NDArray[np.int_]
    """Number of the launch: repeats of a configuration have different ones."""
    bounded: NDArray[np.bool_]
    """Values that are only known not to be exceeded."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def share(self) -> float:
        """How many values count as evidence, as a share. ``n`` levels of one launch count as ``√n``: they are neither
        independent of each other nor all the same."""
        return math.sqrt(len(np.unique(self.launches)) / len(self)) if len(self) else 1.0


@dataclass(frozen=True)
class Design:
    """The columns of points, and their expected values."""

    columns: Array
    mean: Array
    deviations: Array
    """Prior standard deviation of each column's weight, before the amplitude."""
    server: float
    """Standard deviation of the effect of a single server, before the amplitude."""
    new: NDArray[np.int_]
    """Number of each point's server; -1 for observed servers, which have columns of their own."""
    level: float
    """Standard deviation of the effect of a single level of a server, before the amplitude."""
    levels: NDArray[np.int_]
    """Number of each point's server and level, the same in every design that has it; -1 without an effect of it."""
    parts: NDArray[np.int_] | None = None
    """Number of the part that each column belongs to (see :mod:`relevance`); effects of servers are the last one. None:
    all scales are fixed."""
    used: NDArray[np.int_] | None = None
    """Number of the weight of each column, where columns that are zero everywhere are left out; None: all are there."""


@dataclass(frozen=True)
class Weights:
    """What is known of the weights of all columns before the first launch: a normal distribution."""

    deviations: Array
    """Standard deviations; the weights are independent, apart from those that earlier studies say something about."""
    recalled: Recalled | None = None

    @property
    def mean(self) -> Array:
        """Their means."""
        found = np.zeros(len(self.deviations))
        if self.recalled is not None:
            found[self.recalled.at] = self.recalled.mean
        return found

    def scaled(self, columns: Array) -> Array:
        """The columns times the square root of the covariance."""
        found: Array = columns * self.deviations
        if self.recalled is not None:
            found[:, self.recalled.at] = columns[:, self.recalled.at] @ self.recalled.root
        return found

    def spread(self, standard: Array) -> Array:
        """The square root of the covariance times standard normal draws, one row each."""
        found: Array = standard * self.deviations
        if self.recalled is not None:
            found[:, self.recalled.at] = standard[:, self.recalled.at] @ self.recalled.root.T
        return found


@dataclass(frozen=True)
class Member:
    """One of the models that are averaged, fitted to the observations of one quantity."""

    kind: str
    amplitude: float
    log_evidence: float
    design: Design
    weights: Weights
    observations: Observations
    launch: float
    root: Array
    """Cholesky factor of the covariance of the observations."""
    server: float
    """Factor of the scale of the effects of single servers, amplitude included."""
    level: float
    """The same for single levels."""
    remembers: bool = False
    """Whether it knows what earlier studies measured."""

    @property
    def log_recalled(self) -> float:
        """How well it explains what it knows from earlier studies."""
        return 0.0 if self.weights.recalled is None else self.weights.recalled.log_evidence

    def draw(self, random: np.random.Generator, count: int, design: Design) -> Array:
        """Joint draws at new points, one row each.

        By Matheron's rule: draws before the observations are corrected by what they miss of them.

        Args:
            random: Source of the draws.
            count: Number of draws.
            design: The points' columns.
        """
        weights = self.weights.mean + self.weights.spread(random.standard_normal((count, len(self.weights.deviations))))
        numbers = 1 + max(int(d.levels.max(initial=0)) for d in (design, self.design))
        single = self.level * self.design.level
        levels = single * random.standard_normal((count, numbers))
        if len(self.observations):
            seen = self.observations
            expected = weights @ self.design.columns.T + self.design.mean
            expected += self.launch * random.standard_normal((count, int(seen.launches.max()) + 1))[:, seen.launches]
            expected += random.standard_normal((count, len(seen))) * np.sqrt(seen.variances)
            expected += levels[:, self.design.levels]
            missed = _solved(self.root, (seen.values - expected).T)
            _add(levels.T, self.design.levels, single**2 * missed)
            weights = weights + self.weights.spread(missed.T @ self.weights.scaled(self.design.columns))
        used = slice(None) if design.used is None else design.used
        drawn: Array = weights[:, used] @ design.columns.T + design.mean
        some = design.levels >= 0
        drawn += levels[:, design.levels] if some.all() else np.where(some, levels[:, design.levels], 0.0)
        new = random.standard_normal((count, int(design.new.max()) + 2))
        new[:, -1] = 0.0  # of observed servers, whose number is -1
        new *= self.server * design.server
        drawn += new[:, design.new]
        return drawn

    def left_out(self, servers: NDArray[np.int_]) -> float:
        """Mean square of the standardized residuals of servers that are left out in turn; about 1 if the model holds.

        Args:
            servers: Number of the server of each observation.
        """
        if len(np.unique(servers)) < 2:
            return 1.0
        inverse = _solved(self.root, np.eye(len(servers)))
        expected = self.design.mean + self.design.columns @ self.weights.mean
        weighted = inverse @ (self.observations.values - expected)
        all_values: list[float] = []
        means: list[float] = []
        for server in np.unique(servers):
            own = np.flatnonzero(servers == server)
            # The precision of the left-out values, given all others, is their block of the inverse.
            covariance = np.linalg.inv(inverse[np.ix_(own, own)])
            residuals = covariance @ weighted[own]
            all_values.append(float(residuals @ weighted[own]) / len(own))
            means.append(float(residuals.sum()) ** 2 / float(covariance.sum()))
        # Levels of one server often agree far better than servers do, which must not hide how far off its mean is.
        return max(float(np.mean(all_values)), float(np.mean(means)))


def fit(
    kind: str, design: Design, seen: Observations, launch: float, recalled: Sequence[Recalled] = ()
) -> list[Member]:
    """One member per amplitude, and another one per amplitude that knows what earlier studies measured, if any did."""
    flat = [Weights(a * design.deviations) for a in scales.AMPLITUDES]
    found = list(_fitted(kind, design, seen, launch, flat))
    if recalled:
        knowing = [Weights(a * design.deviations, r) for a, r in zip(scales.AMPLITUDES, recalled, strict=True)]
        found += [replace(m, remembers=True) for m in _fitted(kind, design, seen, launch, knowing)]
    return found


def _fitted(
    kind: str, design: Design, seen: Observations, launch: float, weights: Sequence[Weights]
) -> Iterator[Member]:
    """One member for each. Values that are only bounds are replaced by what is expected below them."""
    noise = launch**2 * np.equal.outer(seen.launches, seen.launches)
    same = design.level**2 * np.equal.outer(design.levels, design.levels)
    if seen.bounded.any():
        medium = weights[scales.AMPLITUDES.index(1.0)]
        scaled = medium.scaled(design.columns)
        seen = _below_bounds(scaled @ scaled.T + noise + same, design.mean + design.columns @ medium.mean, seen)
    noise = noise + np.diag(seen.variances + _JITTER)
    for amplitude, own in zip(scales.AMPLITUDES, _adapted(design, seen, noise, weights), strict=True):
        scaled = own.weights.scaled(design.columns)
        covariance = scaled @ scaled.T + own.level**2 * same + noise
        root: Array = np.linalg.cholesky(covariance).astype(np.float64)
        rest = lower_solved(root, seen.values - design.mean - design.columns @ own.weights.mean)
        evidence = own.log_prior - 0.5 * float(rest @ rest) - float(np.log(np.diag(root)).sum())
        yield Member(
            kind=kind,
            amplitude=amplitude,
            log_evidence=evidence,
            design=design,
            weights=own.weights,
            observations=seen,
            launch=launch,
            root=root,
            server=own.server,
            level=own.level,
        )


@dataclass(frozen=True)
class _Adapted:
    """Weights whose scales were adapted to the observations."""

    weights: Weights
    server: float
    level: float
    log_prior: float = 0.0
    """What the factors of the scales add to the evidence."""


def _adapted(design: Design, seen: Observations, noise: Array, weights: Sequence[Weights]) -> Iterator[_Adapted]:
    """The weights of each amplitude. What earlier studies say about them has scales of its own."""
    learns = design.parts is not None and len(seen) > 1 and weights[0].recalled is None
    if design.parts is None or not learns:
        yield from (_Adapted(own, a, a) for a, own in zip(scales.AMPLITUDES, weights, strict=True))
        return
    some = _some_launches(seen.launches)
    rest = (seen.values - design.mean)[some]
    noise = noise[np.ix_(some, some)]
    same = design.level**2 * np.equal.outer(design.levels[some], design.levels[some])
    found = parts(design.columns[some] * design.deviations, design.parts, same)
    best: Learned | None = None
    for amplitude, own in zip(scales.AMPLITUDES, weights, strict=True):
        start = np.zeros(len(found)) if best is None else best.toward(amplitude)
        best = learned(found, amplitude, noise, rest, start)
        by_column = np.where(design.parts == FIXED, 1.0, best.factors[design.parts])
        *_, server, level = amplitude * best.factors
        yield _Adapted(Weights(own.deviations * by_column), float(server), float(level), best.log_prior)


def _some_launches(launches: NDArray[np.int_]) -> NDArray[np.int_]:
    """Rows of launches spread over the study, as many as the choice of scales considers: the time grows with the third
    power of their number."""
    step = -(-len(launches) // _MOST_ADAPTED)
    found: NDArray[np.int_] = np.flatnonzero(np.isin(launches, np.unique(launches)[::step]))
    return found


def _below_bounds(covariance: Array, mean: Array, seen: Observations) -> Observations:
    """The observations with each bound replaced by mean and variance below it, given all others."""
    values = seen.values.copy()
    variances = seen.variances.copy()
    variances[seen.bounded] = 100.0  # says next to nothing at first
    values[seen.bounded] = mean[seen.bounded]
    for _ in range(_SWEEPS):
        for at in np.flatnonzero(seen.bounded):
            others = np.arange(len(values)) != at
            root = np.linalg.cholesky(covariance[np.ix_(others, others)] + np.diag(variances[others] + _JITTER))
            cross = np.linalg.solve(root, covariance[others, at])
            expected = mean[at] + float(cross @ np.linalg.solve(root, (values - mean)[others]))
            spread = math.sqrt(max(float(covariance[at, at] - cross @ cross), 1e-9))
            below, variance = _below(expected, spread, float(seen.values[at]))
            # A value with this noise would lead to the mean and variance below the bound.
            ratio = max(1 - variance / spread**2, 1e-3)
            variances[at] = min(variance / ratio, 100.0)
            values[at] = expected + (below - expected) / ratio
    return Observations(values, variances, seen.launches, np.zeros(len(values), bool))


def _below(mean: float, deviation: float, bound: float) -> tuple[float, float]:
    """Mean and variance of a normal distribution that is cut off above a bound."""
    z = (bound - mean) / deviation
    if z < _FAR_BELOW:  # the share below the bound is too small to divide by
        return bound + deviation / z, (deviation / z) ** 2
    ratio = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) / max(math.erfc(-z / math.sqrt(2)) / 2, 1e-300)
    return mean - deviation * ratio, deviation**2 * max(1 - z * ratio - ratio**2, 1e-6)


def _add(table: Array, rows: NDArray[np.int_], values: Array) -> None:
    """Adds values to rows of a table. Some may be the same ones: repeats measure the same level."""
    if len(np.unique(rows)) == len(rows):
        table[rows] += values  # much faster
    else:
        np.add.at(table, rows, values)


def _solved(root: Array, right: Array) -> Array:
    found: Array = upper_solved(root, lower_solved(root, right))
    return found


@dataclass(frozen=True)
class Averaged:
    """How much each member of each quantity counts, and which ones the draws come from."""

    chosen: NDArray[np.int_]
    """Member by quantity and draw."""
    predicted: float
    """Weight of the predictions."""
    remembered: float
    """Weight of earlier studies."""


def average(quantities: Sequence[Sequence[Member]], random: np.random.Generator, count: int) -> Averaged:
    """Weights the members of all quantities by their evidence.

    Kind and amplitude are shared by all quantities, apart from a deviation of each that costs evidence. Whether earlier
    studies are believed is the same for all of them.
    """
    kinds = list(dict.fromkeys(m.kind for members in quantities for m in members))
    memories = sorted({m.remembers for members in quantities for m in members})
    hubs = [(remembers, kind, a) for remembers in memories for kind in kinds for a in scales.AMPLITUDES]
    trusts = (
        {"predicted": scales.TRUST, "structured": 1 - scales.TRUST} if len(kinds) > 1 else dict.fromkeys(kinds, 1.0)
    )
    amplitudes = dict(zip(scales.AMPLITUDES, _amplitude_priors(kinds).tolist(), strict=True))
    log_hubs = np.array([math.log(trusts[kind]) + amplitudes[a] for _, kind, a in hubs])
    tables = []
    for members in quantities:
        table = _given_hubs(hubs, members) + np.array([m.log_recalled for m in members])
        log_hubs = log_hubs + _log_sum(table)
        tables.append(table - _log_sum(table)[:, None])
    # So much is known from earlier studies. Their number must not count as evidence that they apply here.
    for remembers in memories:
        own = [i for i, hub in enumerate(hubs) if hub[0] is remembers]
        trust = (scales.MEMORY_TRUST if remembers else 1 - scales.MEMORY_TRUST) if len(memories) > 1 else 1.0
        log_hubs[own] += math.log(trust) - float(_log_sum(log_hubs[None, own])[0])
    for i, members in enumerate(quantities):
        tables[i] = tables[i] + np.array([m.observations.share * m.log_evidence for m in members])
        log_hubs = log_hubs + _log_sum(tables[i])
    conditionals = [np.exp(table - _log_sum(table)[:, None]) for table in tables]
    weights = np.exp(log_hubs - log_hubs.max())
    weights /= weights.sum()
    hub = random.choice(len(hubs), count, p=weights)
    uniform = random.random((len(quantities), count))
    chosen = [(c[hub].cumsum(axis=1) < u[:, None]).sum(axis=1) for c, u in zip(conditionals, uniform, strict=True)]
    limits = [len(members) - 1 for members in quantities]
    return Averaged(
        chosen=np.array([np.minimum(c, n) for c, n in zip(chosen, limits, strict=True)], int),
        predicted=float(sum(w for w, (_, kind, _) in zip(weights, hubs, strict=True) if kind == "predicted")),
        remembered=float(sum(w for w, (remembers, _, _) in zip(weights, hubs, strict=True) if remembers)),
    )


def _amplitude_priors(kinds: Sequence[str]) -> Array:
    """Logarithm of the probability of each amplitude."""
    spread = scales.AMPLITUDE if "predicted" in kinds else math.inf
    logs = -0.5 * (np.log(scales.AMPLITUDES) / spread) ** 2
    found: Array = logs - math.log(float(np.exp(logs).sum()))
    return found


def _given_hubs(hubs: Sequence[tuple[bool, str, float]], members: Sequence[Member]) -> Array:
    """Logarithm of the probability of each member of a quantity, by hub."""
    kinds = {m.kind for m in members}
    memories = {m.remembers for m in members}
    table = np.array(
        [
            [
                -0.5 * (math.log(m.amplitude / a) / scales.COUPLING) ** 2
                + (math.log(scales.OTHER_KIND) if m.kind != kind and kind in kinds else 0.0)
                + (-math.inf if m.remembers is not remembers and remembers in memories else 0.0)
                for m in members
            ]
            for remembers, kind, a in hubs
        ]
    )
    found: Array = table - _log_sum(table)[:, None]
    return found


def _log_sum(table: Array) -> Array:
    top = table.max(axis=1)
    found: Array = top + np.log(np.exp(table - top[:, None]).sum(axis=1))
    return found
