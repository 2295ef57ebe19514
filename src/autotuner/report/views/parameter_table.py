"""How much each parameter matters, with its best value."""

from autotuner.report.analysis import Importance, importance, usable_trials
from autotuner.report.numbers import metric_name, percent, with_unit
from autotuner.report.result import StudyResult
from autotuner.report.views.text_table import UNKNOWN, TextTable, text_table
from autotuner.study.base import value_text
from autotuner.study.trial import TrialRole

_MODELED = (
    "Shares of the variance of log({what}) over the space, and of the probability that a configuration starts and "
    "meets the SLOs, by a model of all measured trials. Shares with interactions may add up to more than 100%."
)
_OBSERVED = (
    "Share of the variance of log({what}) explained by the values of each parameter, over the feasible trials of the "
    "search, adjusted for chance. A search does not try all values equally often, so shares can overlap and add up to "
    "more than 100%."
)


def parameter_table(result: StudyResult) -> TextTable | None:
    """A row per parameter, the most important one first; None if no trial is feasible."""
    if not usable_trials(result):
        return None
    found = importance(result)
    objective = result.spec.objectives[0]
    what = metric_name(objective.metric, objective.statistic)
    modeled = any(one.modeled is not None for one in found)
    shares = ("explains", "with interactions", "feasibility") if modeled else ("explains",)
    heads = ("parameter", *shares, "best value (by mean)", _mean(what, objective.statistic), "value in the best trial")
    return text_table(
        "Parameter importance",
        heads,
        [(one.parameter, *_shares(one, modeled=modeled), *_values(result, one)) for one in found],
        numbers=(*range(1, 1 + len(shares)), len(heads) - 2),
        note=(_MODELED if modeled else _OBSERVED).format(what=what),
    )


def _mean(what: str, statistic: str | None) -> str:
    """The mean of an objective over trials, which may itself be the mean of a window."""
    return what if statistic == "mean" else f"mean {what}"


def _shares(found: Importance, *, modeled: bool) -> tuple[str, ...]:
    shares: tuple[float | None, ...] = (found.share,)
    if modeled:
        by_model = found.modeled
        shares = (
            (None, None, None)
            if by_model is None
            else (by_model.objective.alone, by_model.objective.total, by_model.feasible.total)
        )
    return tuple("not known" if share is None else percent(share, sign=False) for share in shares)


def _values(result: StudyResult, found: Importance) -> tuple[str, str, str]:
    objective = result.spec.objectives[0]
    used = UNKNOWN
    if result.best is not None:
        values = result.best.configuration.values
        left_out = result.best.role is TrialRole.DEFAULT or result.best.engine_default
        inactive = "the engine's default" if left_out else "inactive"
        used = value_text(values[found.parameter]) if found.parameter in values else inactive
    best = UNKNOWN if found.best_mean is None else value_text(found.best)
    return best, with_unit(objective.metric, found.best_mean), used
