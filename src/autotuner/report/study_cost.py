"""Cost of a study, and what its winner saves."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from autotuner import scoring
from autotuner.report.numbers import plain, usd
from autotuner.report.result import StudyResult
from autotuner.scoring import Effect
from autotuner.scoring.cost import HOST
from autotuner.study.metric import Direction
from autotuner.study.trial import Trial
from autotuner.tuning.budget import covered_s, worked_s
from autotuner.tuning.proof import decision, records
from autotuner.tuning.proof.decision import LEAST_REPEATS
from autotuner.tuning.proof.noise import known_noise

_HOUR_S = 3600
_UNITS = {
    "cost_per_million_output_tokens": ("million output tokens", 1.0, "million"),
    "cost_per_request": ("1,000 requests", 1000.0, "thousand requests"),
}
"""By metric: unit of the saving, its size in units of the metric, and the unit in which the payback is counted."""


@dataclass(frozen=True)
class StudyCost:
    """Costs in USD."""

    hours: float
    """Hours that servers ran, without time in queues. Those that shared a host at a time count once."""
    gpu_hours: float
    usd: float
    metric: str | None = None
    """The cost that the winner lowers, compared over the repeats of the proof; None if no gain was shown."""
    saved: float | None = None
    """By how much, in the unit of ``metric``."""

    @property
    def pays_back_after(self) -> float | None:
        """Units of ``metric`` (million output tokens, or requests) after which the study has paid for itself."""
        return self.usd / self.saved if self.saved else None


def study_cost(result: StudyResult) -> StudyCost | None:
    """Adds up all trials, including repeats and failures; None if the price of one that was launched is not known.

    A simulated study costs nothing. Servers without GPUs that ran side by side share the price of their host.
    """
    if result.simulated:
        return None
    ran = _paid_hours(result)
    prices = [t.usd_per_hour for _, t in ran if t.usd_per_hour is not None]
    if not ran or len(prices) < len(ran):
        return None
    metric, saved = _saving(result) or (None, None)
    return StudyCost(
        hours=sum(hours for hours, _ in ran),
        gpu_hours=sum(hours * t.gpus for hours, t in ran),
        usd=sum(hours * price for (hours, _), price in zip(ran, prices, strict=True)),
        metric=metric,
        saved=saved,
    )


def _paid_hours(result: StudyResult) -> list[tuple[float, Trial]]:
    """The paid hours of each trial that was launched. If trials ran side by side on one host, the hours of all its
    trials are reduced by the same factor, so that their sum is the time that the host was in use."""
    launched = [t for t in result.trials if worked_s(t)]
    on_host = [t for t in launched if not t.gpus and t.usd_per_hour == result.spec.prices.get(HOST)]
    numbers = {t.number for t in on_host}
    each_s = sum(covered_s([t]) for t in on_host)
    share = covered_s(on_host) / each_s if each_s else 1.0
    return [(worked_s(t) / _HOUR_S * (share if t.number in numbers else 1.0), t) for t in launched]


def cost_text(result: StudyResult) -> str:
    """``cost: 3.1 GPU-hours, $7.72; the winner saves $0.41 per million output tokens: paid back after 19 million``;
    empty if the cost is not known."""
    cost = study_cost(result)
    if cost is None:
        return ""
    spent = f"{plain(cost.gpu_hours)} GPU-hours" if cost.gpu_hours else f"{plain(cost.hours)} hours"
    text = f"Cost of the study: {spent}, {usd(cost.usd)}"
    if cost.metric is None or cost.saved is None or cost.pays_back_after is None:
        return f"{text}."
    unit, size, count = _UNITS[cost.metric]
    paid = f"paid back after {plain(cost.pays_back_after / size)} {count}"
    return f"{text}; the winner saves {usd(cost.saved * size)} per {unit}: {paid}."


def _saving(result: StudyResult) -> tuple[str, float] | None:
    """The cost that the winner lowers, and by how much; None if the repeats do not show it."""
    if not result.ending.proven or result.winner is None or result.default is None:
        return None
    default, winner = records.paired_repeats(result.default, result.winner, result.trials)
    for metric in _UNITS:
        costs = [(_cost(one, metric), _cost(other, metric)) for one, other in zip(default, winner, strict=True)]
        pairs = [(one, other) for one, other in costs if one and other]
        if len(pairs) >= LEAST_REPEATS:
            effect = _compared(pairs, result)
            saved = fmean(one for one, _ in pairs) - fmean(other for _, other in pairs)
            return (metric, saved) if effect is Effect.BETTER else None
    return None


def _compared(pairs: Sequence[tuple[float, float]], result: StudyResult) -> Effect:
    """Whether the winner's costs are lower, by the rule of the proof."""
    confirm = result.spec.confirm
    noise = known_noise(result.trials)
    if not confirm.adaptive:
        default, winner = ([pair[side] for pair in pairs] for side in (0, 1))
        return scoring.gain(default, winner, Direction.MIN, noise=noise, confidence=confirm.confidence).effect
    alpha = decision.alpha(result.trials, result.spec.objectives, confirm)
    return scoring.paired_gain(pairs, Direction.MIN, alpha=alpha, confidence=confirm.confidence, noise=noise).effect


def _cost(trial: Trial, metric: str) -> float | None:
    """The mean over a trial's windows; None if one of them was not measured well enough."""
    known = [value for m in trial.measurements if (value := m.value(metric, None))]
    return fmean(known) if known and len(known) == len(trial.measurements) else None
