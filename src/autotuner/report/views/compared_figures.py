"""The default and the best side by side, at every scenario and load level."""

from collections.abc import Sequence
from statistics import fmean

from autotuner.report.analysis import Figure, compared, comparison
from autotuner.report.headline import answer_word
from autotuner.report.numbers import metric_name, percent, with_unit
from autotuner.report.result import StudyResult
from autotuner.study.base import FrozenModel
from autotuner.study.trial import Trial

_REPEATED = (
    "Means of the interleaved repeats, with their range. “better” and “worse” mean that the 95% interval of the change "
    "excludes zero, as in the headline. Among twenty metrics, chance alone produces about one of these."
)


class ComparedSide(FrozenModel):
    """A figure of one of the two."""

    text: str
    """Mean of its launches: ``412 tokens/s``; a dash if it was not measured."""
    spread: str
    """``405 to 420``; empty for a single launch."""


class ComparedFigure(FrozenModel):
    """One metric of both."""

    title: str
    """``p99 TTFT``."""
    default: ComparedSide
    other: ComparedSide
    change: str
    """``+21%``, with the sign of the metric; a dash if there is nothing to compare."""
    effect: str
    """``better`` or ``worse`` if the interval of the change excludes zero."""


class ComparedPlace(FrozenModel):
    """All metrics at one scenario and load level."""

    scenario: str
    level: str
    figures: tuple[ComparedFigure, ...]


class ComparedFigures(FrozenModel):
    """The default and the best, or what comes closest."""

    other: str
    """Heading of the trial beside the default: ``winner (trial 12)``; empty if there is none."""
    note: str
    """What the figures are."""
    places: tuple[ComparedPlace, ...]


def compared_figures(result: StudyResult) -> ComparedFigures:
    """Compares the default with the best; without places if nothing was measured."""
    other = compared(result)
    # A capacity search may end without a latency.
    places = [place for place in comparison(result) if place.figures]
    repeated = max((len(f.default) for place in places for f in place.figures), default=0) > 1
    note = "One measurement each."
    if repeated:
        note = _REPEATED if other is not None else "Means of the interleaved repeats, with their range."
    return ComparedFigures(
        other="" if other is None else _heading(result, other),
        note=note,
        places=tuple(
            ComparedPlace(
                scenario=place.scenario,
                level=place.level,
                figures=tuple(_figure(figure) for figure in place.figures),
            )
            for place in places
        ),
    )


def _heading(result: StudyResult, other: Trial) -> str:
    if result.best is None:
        return f"closest (trial {other.number})"
    return f"{'challenger' if result.keeps_default else answer_word(result)} (trial {other.number})"


def _figure(figure: Figure) -> ComparedFigure:
    change = figure.change
    return ComparedFigure(
        title=metric_name(figure.metric, figure.statistic),
        default=_side(figure.metric, figure.default),
        other=_side(figure.metric, figure.candidate),
        change="-" if change is None else percent(change),
        effect=figure.effect,
    )


def _side(metric: str, values: Sequence[float]) -> ComparedSide:
    if not values:
        return ComparedSide(text="-", spread="")
    low, high = (with_unit(metric, edge) for edge in (min(values), max(values)))
    spread = "" if low == high else f"{low.partition(' ')[0]} to {high.partition(' ')[0]}"  # the unit is said once
    return ComparedSide(text=with_unit(metric, fmean(values)), spread=spread)
