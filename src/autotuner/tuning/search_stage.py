"""Search of a study: the default of each engine first, then what the search strategy proposes, within the budgets."""

import logging
from collections.abc import Sequence

from autotuner.plugins.search import Search, Stop
from autotuner.study.configuration import Configuration
from autotuner.study.search.evidence import NO_EVIDENCE, Evidence
from autotuner.study.search.importance import ParameterImportance
from autotuner.study.search.rationale import Rationale
from autotuner.study.search.stopping import CONFIDENCE, GainBound
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.tuning.budget import Budget, SearchClock, trials_used_up
from autotuner.tuning.planning.plan import windows_s
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.planning.search_context import search_context
from autotuner.tuning.search_thread import SearchThread
from autotuner.tuning.study_trials import Job, StudyTrials

logger = logging.getLogger(__name__)

NO_PARAMETERS = "no parameters to tune"
"""Why the search ends after the default if nothing is tuned."""


class SearchStage:
    """Proposes trials until a budget is used up or the strategy stops.

    A resumed study takes the same path as a new one: the strategy receives the stored trials again, in order.
    """

    def __init__(
        self, prepared: Prepared, trials: StudyTrials, clock: SearchClock, evidence: Evidence = NO_EVIDENCE
    ) -> None:
        self._prepared = prepared
        self._spec = prepared.spec
        self._trials = trials
        self._search = SearchThread(prepared.search(evidence))
        self._context = search_context(prepared, evidence)
        self._budget = Budget(prepared.spec.search, clock, least_s=windows_s(prepared.spec))
        self.slots = prepared.spec.search.parallel
        self._judged = 0
        """Number of finished trials when the remaining gain was last computed."""
        self.stopped_because = ""
        """Why the search ended; empty until then."""
        self._repeats: set[int] = set()
        """Numbers of the repeats that the strategy knows."""
        for trial in trials:
            if trial.state.finished and trial.role is not TrialRole.CONFIRM:
                self.tell(trial)
        self._tell_repeats()

    async def next(self) -> Job | None:
        """The default, then a proposal; None while the default runs and after the end of the search."""
        known = self._trials.searched()
        defaults = [t for t in known if t.role is TrialRole.DEFAULT]
        if not defaults:
            return Job(TrialRole.DEFAULT, self._prepared.defaults[0])
        if not all(t.state.finished for t in defaults):
            return None  # it runs alone, because everything is compared with it
        if (other := self._other_default(known)) is not None:
            return Job(TrialRole.SEARCH, other, engine_default=True)
        why = self._budget.used_up(self._trials) or self._nothing_to_tune(len(known))
        if why:
            logger.info("search stopped after %d trials: %s", len(known), why)
            self.stopped_because = why
            return None
        if reached := await self._nothing_left(known):
            logger.info("search stopped after %d trials: %s", len(known), reached)
            self.stopped_because = reached
            return None
        history = [self._spelled_out(t) for t in known]

        def propose(search: Search) -> tuple[Configuration | Stop, Rationale | None]:
            found = search.ask(history, self.slots)
            return found, None if isinstance(found, Stop) else search.explain(found)

        proposed, rationale = await self._search.ask(propose)
        if isinstance(proposed, Stop):
            logger.info("search stopped by the strategy after %d trials: %s", len(known), proposed.why)
            self.stopped_because = proposed.why
            return None
        logger.info("search proposes, knowing %d trials: %s", len(known), dict(proposed.values))
        return Job(TrialRole.SEARCH, proposed, rationale=rationale)

    def tell(self, trial: Trial) -> None:
        """The strategy learns from a result."""
        self._search.tell(self._spelled_out(trial))

    def _other_default(self, known: Sequence[Trial]) -> Configuration | None:
        """The default of an engine that has not been launched yet. No budget prevents it: an answer about an engine
        rests on it."""
        launched = {t.configuration.key for t in known}
        return next((c for c in self._prepared.defaults[1:] if c.key not in launched), None)

    def _spelled_out(self, trial: Trial) -> Trial:
        """The trial as the strategy sees it: an engine's default as the point of the space that it is, if it is one."""
        if not trial.engine_default:
            return trial
        return trial.replaced(configuration=self._prepared.spelled_out(trial.configuration))

    async def bound(self) -> GainBound | None:
        """By how much any configuration can be better than the best trial, by all trials and repeats so far."""
        self._tell_repeats()
        rule = self._spec.search.stop
        counting = [t for t in self._trials if t.state is not TrialState.VOID]
        return await self._remaining_gain(counting, rule.confidence if rule else CONFIDENCE)

    def importance(self) -> tuple[ParameterImportance, ...]:
        """How much each parameter matters, by a model of all trials; empty if there are too few."""
        # Imported here, because commands that only read a study need no numpy.
        from autotuner.search.model.importance import importance

        finished = [self._spelled_out(t) for t in self._trials if t.state.finished]
        return importance(self._context, finished) if self._spec.parameters else ()

    def latest_s(self, trial: Trial) -> float | None:
        """Time on the search's clock, in seconds, at which a running trial is cut off; None for never.

        The default is never cut off, since everything is compared with it; ``trial_timeout`` limits it.
        """
        return self._budget.latest_s(self._trials) if trial.role is TrialRole.SEARCH else None

    def _tell_repeats(self) -> None:
        new = [t for t in self._trials if t.role is TrialRole.CONFIRM and t.state.finished]
        for trial in new:
            if trial.number not in self._repeats:
                self._repeats.add(trial.number)
                self._search.tell_repeat(trial)

    async def _nothing_left(self, known: Sequence[Trial]) -> str:
        """Why the rule for stopping ends the search; empty if it does not.

        Repeats do not count here: the search of a resumed study ends where it ended before its proof.
        """
        rule = self._spec.search.stop
        finished = sum(t.state.finished for t in known)
        if rule is None or finished == self._judged:  # only a result can change the bound
            return ""
        self._judged = finished
        bound = await self._remaining_gain(known, rule.confidence)
        return bound.within(rule) if bound is not None else ""

    async def _remaining_gain(self, trials: Sequence[Trial], confidence: float) -> GainBound | None:
        if not self._spec.parameters:
            return None
        history = [self._spelled_out(t) for t in trials]
        return await self._search.ask(lambda search: search.remaining_gain(history, confidence))

    def _nothing_to_tune(self, made: int) -> str:
        if not self._spec.parameters:
            return NO_PARAMETERS
        return trials_used_up(made) if made >= self._spec.search.trials else ""
