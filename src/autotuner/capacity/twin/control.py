"""Control variate of a level's misses: what the server's twin predicts from the arrivals and lengths alone.

The load generator draws arrivals and lengths, so the expected share of predicted misses is known, and most of what
makes misses cluster is in the prediction. Bets on the misses beyond the predicted ones need far fewer requests. They
are as valid with any prediction that was fixed before the level, because what it expects of the same input is
subtracted; a poor one only costs requests (control variates; Angelopoulos et al., prediction-powered inference, 2023).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, log1p

from autotuner.capacity.dispersion import residual_dispersion
from autotuner.capacity.twin.model import Latency, Twin, TwinModel

_STAKES = ((0.1, 0.1), (0.25, 0.15), (0.5, 0.2), (0.75, 0.25), (0.95, 0.3))
"""Parts of the largest stake that a bet survives whatever happens, and their weights in the mixture."""
_SAFETY = 1.0
"""Standard errors of the expected share by which it is shifted against each bet. A bet of a thousand requests loses far
less than its stake by another one."""
STEEPEST = 30.0
"""Largest exponent of the logistic function."""
SCALE = 1.702
"""Factor by which the logistic function resembles the normal distribution."""
_LONGEST = 4.0
"""Spreads above the limit from which predictions count as equal."""


@dataclass(frozen=True)
class Control:
    """Prediction of one bound's misses at one level, fixed before its first request."""

    model: TwinModel
    latency: Latency
    """What the bound is on."""
    spread: float
    """Standard deviation of the latency around its prediction, in seconds."""
    expected: float = 0.0
    """Share of misses that the prediction expects of this load."""
    error: float = 0.0
    """Standard error of ``expected``."""
    settles: int = 0
    """Requests of the level until its queue is that of a lasting load; they are not bet on."""

    def longest(self, limit: float) -> float:
        """Predictions above this are all the same, and are known by then."""
        return limit + _LONGEST * self.spread

    def chance(self, predicted: float, limit: float) -> float:
        """The predicted miss: 0 far below the limit, 1 far above it."""
        beyond = SCALE * (min(predicted, self.longest(limit)) - limit) / self.spread
        return 1 / (1 + exp(-max(min(beyond, STEEPEST), -STEEPEST)))


class ControlledBets:
    """Bets that the misses beyond the predicted ones are fewer, and that they are more, than is allowed.

    Args:
        control: The prediction.
        limit: Values above it are misses.
        allowed: Share of requests that may miss.
    """

    def __init__(self, control: Control, limit: float, allowed: float) -> None:
        self.settles = control.settles
        self.dispersion = 1.0
        self._control = control
        self._limit = limit
        below = control.expected + _SAFETY * control.error
        above = control.expected - _SAFETY * control.error
        self._margins = (allowed - below, above - allowed)
        # A miss that was not predicted costs the first bet most; a predicted one that does not come, the second.
        most = (1 / max(1 + below - allowed, allowed), 1 / max(1 + allowed - above, allowed))
        self._stakes = [[part * highest for part, _ in _STAKES] for highest in most]
        self._wealth = [[0.0] * len(_STAKES) for _ in most]
        self._predicted: list[float] = []

    def add(self, value: float, predicted: float) -> None:
        """Adds a request with the value that the twin predicts."""
        self._predicted.append(predicted)
        if len(self._predicted) <= self.settles:
            return
        beyond = (value > self._limit) - self._control.chance(predicted, self._limit)
        for stakes, wealth, gain in zip(
            self._stakes, self._wealth, (self._margins[0] - beyond, self._margins[1] + beyond), strict=True
        ):
            for index, stake in enumerate(stakes):
                wealth[index] += log1p(stake * gain)

    def refresh(self, values: Sequence[float]) -> None:
        """Estimates the dispersion of what the prediction leaves unexplained, from all requests so far."""
        predicted = self._predicted[self.settles :]
        self.dispersion = residual_dispersion(
            values[self.settles :], self._limit, lambda at: [self._control.chance(one, at) for one in predicted]
        )

    def log_evidence_below(self, caution: float) -> float:
        """Log of the e-process against "more requests miss than allowed".

        Args:
            caution: Factor on the dispersion.
        """
        return _log_mixture(self._wealth[0], self.dispersion * caution)

    def log_evidence_above(self, caution: float) -> float:
        """Log of the e-process against "no more requests miss than allowed"; see :meth:`log_evidence_below`."""
        return _log_mixture(self._wealth[1], self.dispersion * caution)


class Predictions:
    """What the controls of a level predict for each of its requests, as far as it is known.

    Args:
        controls: One per bound; None for a bound without.
        limits: Of the bounds.
    """

    def __init__(self, controls: Sequence[Control | None], limits: Sequence[float]) -> None:
        self._controls = [
            None
            if control is None
            # An answer that takes long may still have fast tokens.
            else (Twin(control.model, control.latency), control.longest(limit), control.latency is not Latency.TPOT)
            for control, limit in zip(controls, limits, strict=True)
        ]
        self._now = 0.0
        self._came: list[float] = []
        self._counted: list[int] = []

    def arrive(self, at: float, inputs: int, outputs: int, *, counted: bool) -> None:
        """Adds an arrival, in the order of arrival.

        Args:
            at: Seconds since the first arrival of the level, warm-up included.
            inputs: Length of the prompt in tokens.
            outputs: Tokens asked for.
            counted: Whether the level is tested by it; the requests of the warm-up only fill the queue.
        """
        if counted:
            self._counted.append(len(self._came))
        self._came.append(at)
        self._now = at
        for control in self._controls:
            if control is not None:
                control[0].arrive(at, inputs, outputs)

    def value(self, bound: int, number: int) -> float | None:
        """The predicted value of a counted request in seconds; 0 for a bound without a control.

        Returns:
            None while it may depend on later arrivals.
        """
        control = self._controls[bound] if bound < len(self._controls) else None
        if control is None:
            return 0.0
        twin, longest, by_time = control
        place = self._counted[number]
        latency = twin.latencies[place]
        if latency is None:
            return longest if by_time and self._now - self._came[place] >= longest else None
        return min(latency, longest)


def _log_mixture(wealth: Sequence[float], dispersion: float) -> float:
    logs = [one / dispersion + log(weight) for one, (_, weight) in zip(wealth, _STAKES, strict=True)]
    highest = max(logs)
    return highest + log(sum(exp(one - highest) for one in logs))
