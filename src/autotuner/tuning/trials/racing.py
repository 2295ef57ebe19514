"""Racing: a trial of the search ends once what was measured of it has decided that it has lost.

A look at the highest load comes first: a short window, from which :mod:`autotuner.tuning.looks` predicts what the full
windows would show at best. Between the full windows, only what is certain ends a trial. :func:`autotuner.scoring.lost`
says in both cases whether it has lost. The default and the repeats of the proof are always measured completely.
"""

from collections.abc import Callable, Sequence

from autotuner.study.measurement import Measurement
from autotuner.study.search.cut import Cut
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole
from autotuner.study.verdict import Verdict
from autotuner.study.workload import LoadLevel, Scenario
from autotuner.tuning.looks import by_load, look_places, look_s
from autotuner.tuning.racing.cuts import cut_by_levels, cut_by_looks
from autotuner.tuning.racing.window_length import windows_length_s
from autotuner.tuning.verdicts import levels_left

Place = tuple[Scenario, LoadLevel]


class Race:
    """The rules for one trial.

    Args:
        spec: The study.
        trial: The trial.
        trials: The present trials of the study.
        short_windows: Whether the benchmark can take a look.
    """

    def __init__(
        self, spec: StudySpec, trial: Trial, trials: Callable[[], Sequence[Trial]], *, short_windows: bool
    ) -> None:
        self._spec = spec
        self._trial = trial
        self._trials = trials
        self._short_windows = short_windows

    @property
    def _may_end(self) -> bool:
        """Whether it need not be measured completely, as all defaults are."""
        trial = self._trial
        return self._spec.search.races and trial.role is TrialRole.SEARCH and not trial.engine_default

    @property
    def looks(self) -> tuple[Place, ...]:
        """Where a short window comes before the full ones. The default's shows how the two differ."""
        spec = self._spec
        if not self._short_windows or self._trial.role is TrialRole.CONFIRM or not look_s(spec):
            return ()
        return look_places(spec) if pays_off(spec, self._trials()) else ()

    def order(self, scenario: Scenario, looks: Sequence[Measurement]) -> Sequence[LoadLevel]:
        """The order of a scenario's full windows: that of the file, since a server should not begin with its highest
        load; after a look has warmed it up, the levels that most likely decide come first."""
        levels = self._spec.workload.levels
        return by_load(scenario, levels) if looks else levels

    def after_looks(self, looks: Sequence[Measurement]) -> tuple[Cut, Verdict] | None:
        """Why the trial ends before its full windows, and its verdict; None if it does not."""
        return cut_by_looks(self._spec, looks, self._trials(), self._trial.number) if self._may_end else None

    def after_level(self, measured: Sequence[Measurement]) -> Cut | None:
        """Why the trial ends after these full windows; None if it does not."""
        return cut_by_levels(self._spec, measured, self._trials(), self._trial.number) if self._may_end else None


def pays_off(spec: StudySpec, trials: Sequence[Trial]) -> bool:
    """Whether looks are expected to save more time than they take, by what was saved after those so far.

    The first trials of a search cannot lose against as many others as the proof launches, so they do not count. An
    assumed trial that saved half of its windows does, so that a few looks are taken.
    """
    searched = [t for t in trials if t.role is TrialRole.SEARCH and t.state.finished and t.verdict is not None]
    complete = [t for t in searched if t.cut is None]
    first = {t.number for t in complete[: spec.confirm.challengers]}
    looked = [t for t in searched if t.looks and t.number not in first]
    saved_s = sum(t.cut.saved_s for t in looked if t.cut is not None)
    whole_s = windows_length_s(spec, levels_left(spec, ()))
    return (saved_s + whole_s / 2) / (len(looked) + 1) > look_s(spec)
