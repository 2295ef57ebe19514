"""Calibrated search: predictions, or the structure that all servers share, corrected by every measured level.

A model of each metric (TTFT, TPOT, ...) is fitted to all windows of all trials; objectives and SLOs are computed from
joint draws of these metrics. The next configuration is the one that most often starts and comes close to the best of
all in these draws. See ``docs/explanation/search-and-scoring.md``.

A proposal depends only on the seed, the trials that the search was given (in the order of their numbers) and the
history: a search that is rebuilt after a crash continues as if it had never stopped.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel

from autotuner.plugins.search import Search, SearchContext, Stop
from autotuner.search.proposals import shuffled, used
from autotuner.study.base import FrozenModel
from autotuner.study.configuration import Configuration
from autotuner.study.search.forecast import Forecast
from autotuner.study.search.rationale import Rationale
from autotuner.study.search.starting_point import Start
from autotuner.study.search.stopping import GainBound
from autotuner.study.trial import Trial, TrialRole, TrialState

if TYPE_CHECKING:
    from autotuner.search.model.proposing import Proposer


_MOST_STARTS = 2
"""Recommended configurations that are tried before the model chooses."""
_TRIALS_PER_START = 5
"""Trials of the budget for each of them."""


class CalibratedSettings(FrozenModel):
    """No settings."""


class CalibratedSearch(Search):
    """Learns from every level of every trial: feasible, infeasible, cut and failed ones."""

    kind: ClassVar[str] = "calibrated"
    bounds_gain: ClassVar[bool] = True
    Settings: ClassVar[type[BaseModel]] = CalibratedSettings
    uses_evidence: ClassVar[bool] = True
    uses_forecasts: ClassVar[bool] = True

    def __init__(self, settings: BaseModel, context: SearchContext) -> None:
        super().__init__(settings, context)
        self._proposals = shuffled(context)
        self._finished: dict[int, Trial] = {}
        self._forecasts: dict[str, Forecast | None] = {}
        self._proposer: Proposer | None = None
        self._rationale: tuple[str, Rationale] | None = None

    def tell(self, trial: Trial) -> None:
        """Takes a finished trial; the model is fitted in :meth:`ask`."""
        self._finished[trial.number] = trial

    def tell_repeat(self, trial: Trial) -> None:
        """Takes a repeat, which shows the noise between launches."""
        self._finished[trial.number] = trial

    def ask(self, history: Sequence[Trial], free: int = 1) -> Configuration | Stop:
        """The configuration that the model rates best; a random one as long as there is nothing to base a model on."""
        taken = used(self.context, history)
        at_random = self._proposals.first_unused(taken)
        self._rationale = None
        made = sorted((t for t in history if t.state is not TrialState.VOID), key=lambda t: t.number)
        waits = any(t.role is TrialRole.DEFAULT and not t.state.finished for t in made)
        finished = [self._finished[n] for n in sorted(self._finished)]
        if isinstance(at_random, Stop) or waits or (self.context.goals is None and not finished):
            return at_random
        running = [t for t in made if t.number not in self._finished]
        start = self._start(taken, len(made))
        only = (start.configuration,) if start is not None else ()
        proposal = self._model().propose(finished, running, taken, len(made), only)
        why = proposal.rationale
        if start is not None:
            why = why.replaced(recommended=start.source)
        self._rationale = (proposal.configuration.key, why)
        return proposal.configuration

    def _start(self, taken: frozenset[str], made: int) -> Start | None:
        """The next recommended configuration, as long as nothing better is known: no predictions, no earlier studies,
        and hardly any trial."""
        most = 1 + min(_MOST_STARTS, self.context.trials // _TRIALS_PER_START)
        if self.context.evidence.studies or made == 0 or made >= most:
            return None
        untried = (s for s in self.context.starts if self.context.identity(s.configuration) not in taken)
        return next((s for s in untried if self.forecast(s.configuration) is None), None)

    def remaining_gain(self, history: Sequence[Trial], confidence: float) -> GainBound | None:
        """As :meth:`Search.remaining_gain`, from joint draws of the results of all configurations."""
        counted = {t.number for t in history if t.state.finished}
        finished = [self._finished[n] for n in sorted(self._finished) if n in counted]
        if len(self.context.directions) != 1 or not finished:
            return None
        return self._model().remaining_gain(finished, used(self.context, finished), confidence)

    def explain(self, proposal: Configuration) -> Rationale | None:
        """Predictions for the last proposal, and what it was expected to beat."""
        if self._rationale is None or self._rationale[0] != proposal.key:
            return None
        return self._rationale[1]

    def _model(self) -> "Proposer":
        # Imported here, because commands that only read a study need no numpy.
        from autotuner.search.model.proposing import Proposer

        if self._proposer is None:
            self._proposer = Proposer(self.context, self._proposals, self.forecast)
        return self._proposer

    def forecast(self, configuration: Configuration) -> Forecast | None:
        """The prediction for a configuration, computed once."""
        key = configuration.key
        if key not in self._forecasts:
            self._forecasts[key] = self.context.forecast(configuration)
        return self._forecasts[key]
