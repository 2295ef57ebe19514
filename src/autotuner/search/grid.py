"""Grid search: the whole space in the order of the parameters, or a shuffled part of it if the budget is too small."""

from collections.abc import Sequence
from itertools import islice
from typing import ClassVar

from pydantic import BaseModel

from autotuner.errors import Problem, UsageError
from autotuner.plugins.search import Search, SearchContext, Stop
from autotuner.search.points import Points
from autotuner.search.proposals import Proposals, shuffled, used
from autotuner.study.base import FrozenModel
from autotuner.study.configuration import Configuration
from autotuner.study.trial import Trial

_MAX_COUNTED = 50_000
"""A larger space is not counted; the trials are assumed to be too few for it."""


class GridSettings(FrozenModel):
    """No settings."""


class GridSearch(Search):
    """Proposes every point in order; shuffled with the seed if ``context.trials`` is too small for all, because the
    first points of an ordered grid would all share their first values."""

    kind: ClassVar[str] = "grid"
    Settings: ClassVar[type[BaseModel]] = GridSettings

    def __init__(self, settings: BaseModel, context: SearchContext) -> None:
        super().__init__(settings, context)
        points = Points(context.space)
        endless = [a.name for a in points.axes if a.values is None]
        if endless:
            raise UsageError([_continuous(name) for name in endless])
        complete = _suffices(context, points)
        self._proposals = Proposals(context, points.in_order()) if complete else shuffled(context)

    def ask(self, history: Sequence[Trial], free: int = 1) -> Configuration | Stop:
        """The first grid point that the history has not used."""
        return self._proposals.first_unused(used(self.context, history))

    def tell(self, trial: Trial) -> None:
        """Ignored: the order is fixed."""


def _suffices(context: SearchContext, points: Points) -> bool:
    """Whether the trials are enough for all allowed points; trial 0 is the default."""
    if points.size is None or points.size > _MAX_COUNTED:
        return False
    proposals = Proposals(context, points.in_order())
    return len(list(islice(proposals.unused(used(context, ())), context.trials))) < context.trials


def _continuous(name: str) -> Problem:
    return Problem(
        where=f"parameters.{name}",
        why="a grid needs a finite number of values, and this range is continuous",
        remedy="give it a step, or use search.strategy: random or bayesian",
    )
