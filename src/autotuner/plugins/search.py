"""Which configuration next. A search has no state of its own on disk: it is rebuilt by telling it stored trials."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import BaseModel

from autotuner.study.configuration import Configuration
from autotuner.study.metric import Direction
from autotuner.study.parameters.space import Space
from autotuner.study.trial import Trial


@dataclass(frozen=True)
class Stop:
    """The search has nothing more to propose, and says why."""

    why: str


@dataclass(frozen=True)
class SearchContext:
    """What a search works on."""

    space: Space
    directions: tuple[Direction, ...]
    """Of the objectives, in order."""
    seed: int
    trials: int
    """Configurations that the study may launch, the default included (for strategies that plan ahead)."""
    valid: Callable[[Configuration], bool] = field(default=lambda _: True)
    """False for configurations that the engine's catalog knows to be invalid; never to be proposed. The space's own
    constraints are part of ``space``."""
    identity: Callable[[Configuration], str] = field(default=lambda configuration: configuration.key)
    """Equal for configurations that start the same server (``4`` and ``"4"``, ``null`` and the flag left out). Of these
    only one may be proposed, and none that a trial of the history already stands for."""
    default: Configuration | None = None
    """The default configuration spelled out in the space's parameters where all of them are known, else None. It is
    what trial 0 ran, so it need not be proposed again."""


class Search(ABC):
    """A search strategy. Constructed with ``Search(settings, context)``; deterministic for a seed and a history."""

    kind: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]

    def __init__(self, settings: BaseModel, context: SearchContext) -> None:
        self.settings = settings
        self.context = context

    @abstractmethod
    def ask(self, history: Sequence[Trial], free: int = 1) -> Configuration | Stop:
        """The next configuration. ``history`` holds every default and search trial so far, running ones included;
        none of their configurations is proposed again. ``free`` is how many trials could start now."""

    @abstractmethod
    def tell(self, trial: Trial) -> None:
        """Learns from a finished trial (``state.finished``). Called once per trial, also for stored ones on resume,
        in the order of their numbers."""
