"""From the requests of earlier levels to the twin of a server, and how well it predicts the values of a bound."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from autotuner.capacity.twin.control import Control
from autotuner.capacity.twin.model import Latency, Twin, TwinModel

Floats = NDArray[np.float64]
Simulate = Callable[[TwinModel, Latency, Floats, Floats, Floats], Floats]
"""Model, what is predicted, arrivals, input and output lengths to latencies."""

_FEWEST = 400
"""Requests from which a twin is fitted."""
_MOST = 2_000
"""Requests that it is fitted to: the latest ones."""
CLIPPED = 2.0
"""Multiple of the limit above which latencies count as that; far beyond the capacity they only show the backlog."""
_TYPICAL = 3.0
"""The same relative to the median, where no bound is on end-to-end latencies."""
_NEAR = 0.6
"""Part of the limit from which latencies say how well the twin predicts misses."""
_FEWEST_NEAR = 20
_EXPLAINS = 0.6
"""Least part of the variance of the latencies that a twin must explain."""
_ROUNDS = 12
_ROUNDS_EACH = 4
_SETTLED = 1e-3
_BEST_STARTS = 3
_HOPELESS = 0.5
"""Part of the variance that a first attempt must explain."""
_WORSE = 5.0
"""Factor on the error, with other slots and all else equal, above which these are not tried."""
_LEAST_SPREAD = 1e-3
_BETTER = 0.98
"""Factor by which other slots must improve the fit."""
_FLOOR = np.array([1e-3, 1e-5, 1e-6])
"""Least step, increase per request and prefill, relative to the largest of them."""
_TRIES = 4
"""Tries of one step of the fit, each with more damping."""


@dataclass(frozen=True)
class LevelInput:
    """The requests of one level in the order of arrival, from an empty server on."""

    arrivals: Floats
    """In seconds."""
    inputs: Floats
    outputs: Floats
    """Tokens asked for."""
    latencies: Floats
    """End-to-end latencies in seconds; NaN for a request that failed or had not ended."""
    firsts: Floats
    """The same of the first token."""

    def of(self, latency: Latency) -> Floats:
        """What was seen of a latency, in seconds; NaN where it is not known."""
        if latency is Latency.TTFT:
            return self.firsts
        if latency is Latency.E2E:
            return self.latencies
        more = np.maximum(self.outputs - 1, 1)
        return np.where(self.outputs > 1, (self.latencies - self.firsts) / more, 0.0 * self.latencies)


def simulate(model: TwinModel, latency: Latency, arrivals: Floats, inputs: Floats, outputs: Floats) -> Floats:
    """Latencies that a twin predicts, in seconds."""
    twin = Twin(model, latency)
    twin.arrive_all(zip(arrivals.tolist(), inputs.tolist(), outputs.tolist(), strict=True))
    twin.advance(inf)
    return np.array(twin.latencies, dtype=np.float64)


def fit_twin(levels: Sequence[LevelInput], longest: float | None, run: Simulate = simulate) -> TwinModel | None:
    """Fits a twin to end-to-end latencies, by least squares (Levenberg and Marquardt).

    Args:
        levels: What earlier levels received and answered.
        longest: Latency in seconds above which all latencies count as equal; None: by their median.
        run: The simulation.

    Returns:
        None if there are too few requests, or their latencies do not follow from arrivals and lengths.
    """
    fit = _Fit(levels, longest, run)
    if fit.count < _FEWEST:
        return None
    highest = 1 << max(fit.most_in_flight - 1, 0).bit_length() >> 1
    fewer_slots = [highest >> halvings for halvings in range(highest.bit_length())]
    starts = [replace(start, slots=slots) for start in fit.starts() for slots in (None, *fewer_slots)]
    starts = sorted(starts, key=fit.error)[:_BEST_STARTS]
    best, error = min((fit.solve(start, _ROUNDS_EACH) for start in starts), key=lambda found: found[1])
    if error > _HOPELESS * fit.variance:
        return None
    best, error = fit.solve(best, _ROUNDS)
    for slots in (None, *fewer_slots):
        other = replace(best, slots=slots)
        if slots == best.slots or fit.error(other) > _WORSE * error:
            continue
        other, found = fit.solve(other, _ROUNDS_EACH)
        if found < error * _BETTER:
            best, error = fit.solve(other, _ROUNDS)
    return best if error <= (1 - _EXPLAINS) * fit.variance else None


def control_of(
    model: TwinModel, levels: Sequence[LevelInput], limit: float, latency: Latency, run: Simulate = simulate
) -> Control | None:
    """How well a twin predicts the values of one bound; its expected share of misses is not known yet.

    Args:
        model: The twin.
        levels: What earlier levels received and answered.
        limit: Of the bound, in seconds.
        latency: What the bound is on.
        run: The simulation.

    Returns:
        None if no values near the limit were seen, or they do not follow from arrivals and lengths.
    """
    predicted: list[Floats] = []
    seen: list[Floats] = []
    for level in _latest(levels):
        actual = level.of(latency)
        known = ~np.isnan(actual)
        found = run(model, latency, level.arrivals, level.inputs, level.outputs)
        predicted.append(np.minimum(found[known], CLIPPED * limit))
        seen.append(np.minimum(actual[known], CLIPPED * limit))
    x = np.concatenate(predicted)
    y = np.concatenate(seen)
    near = np.maximum(x, y) > _NEAR * limit
    if near.sum() < _FEWEST_NEAR or np.mean((x - y) ** 2) > (1 - _EXPLAINS) * np.var(y):
        return None
    spread = float(np.sqrt(np.mean((x[near] - y[near]) ** 2)))
    return Control(model, latency, max(spread, _LEAST_SPREAD * limit))


def _latest(levels: Sequence[LevelInput]) -> list[LevelInput]:
    """The last levels with enough requests; what was measured while the server was cold counts least."""
    found: list[LevelInput] = []
    for level in reversed(levels):
        found.append(level)
        if sum(len(one.arrivals) for one in found) >= _MOST:
            break
    return found


class _Fit:
    """Least squares of clipped end-to-end latencies.

    Args:
        levels: What earlier levels received and answered.
        longest: Latency above which all count as equal.
        run: The simulation.
    """

    def __init__(self, levels: Sequence[LevelInput], longest: float | None, run: Simulate) -> None:
        self._levels = _latest(levels)
        self._run = run
        latencies = [level.latencies for level in self._levels]
        self._known = [~np.isnan(one) for one in latencies]
        self.count = sum(int(known.sum()) for known in self._known)
        self._longest = inf
        if longest is None and self.count:
            longest = _TYPICAL * float(np.median(self._joined(latencies)))
        self._longest = longest or inf
        self._seen = self._joined(latencies)
        self.variance = float(np.sum((self._seen - self._seen.mean()) ** 2)) if self.count else 0.0
        in_flight = [_in_flight(level) for level in self._levels]
        self.most_in_flight = max((int(one.max()) for one in in_flight if len(one)), default=0)
        self._in_flight = self._joined(in_flight, clip=False)
        self._outputs = self._joined([level.outputs for level in self._levels], clip=False)
        self._inputs = self._joined([level.inputs for level in self._levels], clip=False)

    def _joined(self, parts: Sequence[Floats], *, clip: bool = True) -> Floats:
        if not parts:
            return np.zeros(0)
        joined = np.concatenate([part[known] for part, known in zip(parts, self._known, strict=True)])
        return np.minimum(joined, self._longest) if clip else joined

    def starts(self) -> list[TwinModel]:
        """First guesses: time per token grows in proportion to the requests in flight, with and without prefill."""
        per_token = self._seen / np.maximum(self._outputs, 1.0)
        open_ended = self._seen < self._longest
        typical = float(np.median(per_token))
        step = typical / 2
        per_request = 0.0
        x = np.stack([np.ones(int(open_ended.sum())), self._in_flight[open_ended]], axis=1)
        if len(x) > 1:
            step, per_request = np.linalg.lstsq(x, per_token[open_ended], rcond=None)[0].tolist()
        step = max(step, typical / 10)
        per_request = max(per_request, typical / 1_000)
        token = 1 / max(float(self._inputs.mean()), 1.0)
        return [
            TwinModel(step * part, per_request * part * shared, typical * prefill * token)
            for part in (0.9, 0.6)
            for shared in (1.0, 0.3)
            for prefill in (0.02, 0.3)
        ]

    def error(self, model: TwinModel) -> float:
        """Sum of the squared errors of a model."""
        return float(np.sum((self._seen - self._predicted(model)) ** 2))

    def solve(self, model: TwinModel, rounds: int) -> tuple[TwinModel, float]:
        """The best parameters for these slots, and the sum of their squared errors."""
        found = self._predicted(model)
        error = float(np.sum((self._seen - found) ** 2))
        damping = 1e-2
        for _ in range(rounds):
            values = np.array([model.step, model.per_request, model.prefill])
            floor = values.max() * _FLOOR
            jacobian = self._jacobian(model, values, floor, found)
            normal = jacobian.T @ jacobian
            slope = jacobian.T @ (self._seen - found)
            before = error
            for _ in range(_TRIES):
                change = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-12), slope)
                tried = _with(model, np.maximum(values + change, floor))
                predicted = self._predicted(tried)
                squared = float(np.sum((self._seen - predicted) ** 2))
                if squared < error:
                    model = tried
                    found = predicted
                    error = squared
                    damping = max(damping / 5, 1e-4)
                    break
                damping *= 5
            if error > before * (1 - _SETTLED):
                break
        return model, error

    def _jacobian(self, model: TwinModel, values: Floats, floor: Floats, found: Floats) -> Floats:
        """How the predictions change with each parameter."""
        moves = np.maximum(values * 0.01, floor)
        columns = []
        for at in range(len(values)):
            moved = values.copy()
            moved[at] += moves[at]
            columns.append((self._predicted(_with(model, moved)) - found) / moves[at])
        return np.stack(columns, axis=1)

    def _predicted(self, model: TwinModel) -> Floats:
        return self._joined(
            [self._run(model, Latency.E2E, one.arrivals, one.inputs, one.outputs) for one in self._levels]
        )


def _with(model: TwinModel, values: Floats) -> TwinModel:
    step, per_request, prefill = values.tolist()
    return replace(model, step=step, per_request=per_request, prefill=prefill)


def _in_flight(level: LevelInput) -> Floats:
    """Requests in flight at each arrival; those whose end is not known count to the end."""
    ends = np.sort(level.arrivals + np.nan_to_num(level.latencies, nan=1e9))
    return np.asarray(np.arange(len(ends)) - np.searchsorted(ends, level.arrivals), dtype=np.float64)
