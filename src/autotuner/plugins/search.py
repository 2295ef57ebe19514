"""The interface of search strategies, which propose configurations.

A search keeps no state on disk: it is rebuilt from the stored trials.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import BaseModel

from autotuner.study.configuration import Configuration
from autotuner.study.metric import Direction
from autotuner.study.parameters.space import Space
from autotuner.study.search.evidence import NO_EVIDENCE, Evidence
from autotuner.study.search.forecast import Forecast
from autotuner.study.search.goals import Goals, Place
from autotuner.study.search.rationale import Rationale
from autotuner.study.search.release import Release
from autotuner.study.search.starting_point import Start
from autotuner.study.search.stopping import GainBound
from autotuner.study.trial import Trial


@dataclass(frozen=True)
class Stop:
    """A search's answer when it has nothing more to propose."""

    why: str


@dataclass(frozen=True)
class SearchContext:
    """The problem that a search has to solve."""

    space: Space
    directions: tuple[Direction, ...]
    """Whether each objective is minimized or maximized, in the objectives' order."""
    seed: int
    trials: int
    """Budget of configurations, including the default, for strategies that plan ahead."""
    valid: Callable[[Configuration], bool] = field(default=lambda _: True)
    """False for configurations that are invalid by the engine's catalog; these must not be proposed. The constraints of
    the study are part of ``space``."""
    identity: Callable[[Configuration], str] = field(default=lambda configuration: configuration.key)
    """Equal for configurations that start the same server (``4`` and ``"4"``, ``null`` and the flag left out). Only one
    of them may be proposed, and none if the history already has a trial of one."""
    default: Configuration | None = None
    """The default configuration in the space's parameters; None if the default of one of them is unknown. Trial 0
    runs it, so it need not be proposed again."""
    goals: Goals | None = None
    """Objectives, SLOs and load levels; None: a search knows only the verdicts of trials."""
    places: Callable[[Configuration], Sequence[Place]] | None = None
    """Where a configuration is measured, if its own parameters determine the load; None: at ``goals.places``."""
    load_parameters: frozenset[str] = frozenset()
    """Parameters that determine the load and not the server."""
    gpus: Callable[[Configuration], int] = field(default=lambda _: 0)
    """GPUs that a configuration needs; 0 if it is unknown."""
    release: Callable[[Configuration], Release | None] = field(default=lambda _: None)
    """The engine's release that a configuration launches; None if it is unknown."""
    loading: Callable[[Configuration], Hashable] = field(default=lambda configuration: configuration.key)
    """Equal for configurations whose servers read the same weights in the same way and compile the same code, so that
    one may start sooner after the other."""
    server: Callable[[Configuration], Hashable] = field(default=lambda _: None)
    """Equal for configurations that differ only by flags that a running server can change, so that the second one needs
    no launch; None if it sets no such flag."""
    forecast: Callable[[Configuration], Forecast | None] = field(default=lambda _: None)
    """Predicts the results of a configuration before it is launched; None if it cannot be predicted."""
    starts: tuple[Start, ...] = ()
    """Configurations that the engine's documentation recommends."""
    evidence: Evidence = NO_EVIDENCE
    """What earlier studies measured: a prior, never a result of this study."""


class Search(ABC):
    """A search strategy, constructed with ``Search(settings, context)``.

    Its proposals are a function of the seed and the history.
    """

    kind: ClassVar[str]
    bounds_gain: ClassVar[bool] = False
    """Whether :meth:`remaining_gain` is implemented, which ``search.stop`` needs."""
    Settings: ClassVar[type[BaseModel]]
    uses_evidence: ClassVar[bool] = False
    """Whether it learns from earlier studies, :attr:`SearchContext.evidence`."""
    uses_forecasts: ClassVar[bool] = False
    """Whether it begins with predictions, :attr:`SearchContext.forecast`."""

    def __init__(self, settings: BaseModel, context: SearchContext) -> None:
        self.settings = settings
        self.context = context

    @abstractmethod
    def ask(self, history: Sequence[Trial], free: int = 1) -> Configuration | Stop:
        """The next configuration to launch, or why there is none.

        Args:
            history: All default and search trials so far, including running ones. None of their configurations may be
                proposed again.
            free: Number of trials that could start now.
        """

    @abstractmethod
    def tell(self, trial: Trial) -> None:
        """Learns from a finished trial (``state.finished``).

        Called once per trial in the order of their numbers; on resume also for stored trials.
        """

    def tell_repeat(self, trial: Trial) -> None:  # noqa: B027 - for strategies that learn the noise
        """Learns from a finished repeat of the confirmation, if the search continues after one."""

    def remaining_gain(self, history: Sequence[Trial], confidence: float) -> GainBound | None:
        """By how much configurations that were not launched can be better than the best trial, for one objective.

        The best trial is the one that the strategy takes for the best by all that it knows.

        Args:
            history: The trials to judge from, repeats of the confirmation included. Those that are still running count
                as untried.
            confidence: Probability that the bound holds.

        Returns:
            The bound; None if there is none, for example without a feasible trial, or if all were launched.
        """
        return None

    def explain(self, proposal: Configuration) -> Rationale | None:
        """Why :meth:`ask` has just proposed this configuration; None if the strategy has no reason to give."""
        return None
