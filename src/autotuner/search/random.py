"""Random search without replacement: the baseline for every other strategy."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel

from autotuner.plugins.search import Search, SearchContext, Stop
from autotuner.search.proposals import shuffled, used
from autotuner.study.base import FrozenModel
from autotuner.study.configuration import Configuration
from autotuner.study.trial import Trial


class RandomSettings(FrozenModel):
    """No settings."""


class RandomSearch(Search):
    """Proposes every allowed configuration once, in a random order fixed by the seed. On a space without continuous
    ranges it ends by itself."""

    kind: ClassVar[str] = "random"
    Settings: ClassVar[type[BaseModel]] = RandomSettings

    def __init__(self, settings: BaseModel, context: SearchContext) -> None:
        super().__init__(settings, context)
        self._proposals = shuffled(context)

    def ask(self, history: Sequence[Trial], free: int = 1) -> Configuration | Stop:
        """The first configuration of the order that the history has not used."""
        return self._proposals.first_unused(used(self.context, history))

    def tell(self, trial: Trial) -> None:
        """Ignored: the order is fixed."""
