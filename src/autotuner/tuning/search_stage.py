"""Search of a study: the default of each engine first, then what the search strategy proposes, within the budgets."""

import logging
from collections.abc import Sequence

from autotuner.plugins.search import Stop
from autotuner.study.configuration import Configuration
from autotuner.study.search.evidence import NO_EVIDENCE, Evidence
from autotuner.study.trial import Trial, TrialRole
from autotuner.tuning.budget import Budget, SearchClock, trials_used_up
from autotuner.tuning.planning.plan import windows_s
from autotuner.tuning.planning.prepared_study import Prepared
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
        self._search = prepared.search(evidence)
        self._budget = Budget(prepared.spec.search, clock, least_s=windows_s(prepared.spec))
        self.slots = prepared.spec.search.parallel
        self.stopped_because = ""
        """Why the search ended; empty until then."""
        for trial in trials:
            if trial.state.finished and trial.role is TrialRole.CONFIRM:
                self._search.tell_repeat(trial)
            elif trial.state.finished:
                self.tell(trial)

    def next(self) -> Job | None:
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
        proposed = self._search.ask([self._spelled_out(t) for t in known], self.slots)
        if isinstance(proposed, Stop):
            logger.info("search stopped by the strategy after %d trials: %s", len(known), proposed.why)
            self.stopped_because = proposed.why
            return None
        logger.info("search proposes, knowing %d trials: %s", len(known), dict(proposed.values))
        return Job(TrialRole.SEARCH, proposed, rationale=self._search.explain(proposed))

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

    def latest_s(self, trial: Trial) -> float | None:
        """Time on the search's clock, in seconds, at which a running trial is cut off; None for never.

        The default is never cut off, since everything is compared with it; ``trial_timeout`` limits it.
        """
        return self._budget.latest_s(self._trials) if trial.role is TrialRole.SEARCH else None

    def _nothing_to_tune(self, made: int) -> str:
        if not self._spec.parameters:
            return NO_PARAMETERS
        return trials_used_up(made) if made >= self._spec.search.trials else ""
