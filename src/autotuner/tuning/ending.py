"""Endings of a study: a closed set, decided in one place from the stored trials.

Only :func:`conclude` decides what a study's trials show. The terminal, the exit code, ``show``, the report, every JSON
output, exports, ``best``, manifests and the ``study_finished`` event use what it returns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from autotuner import scoring
from autotuner.scoring import Effect, Gain
from autotuner.study.owner import CUT_OFF, RUNNING
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.tuning.proof import decision, records
from autotuner.tuning.proof.decision import LEAST_REPEATS, Decision, Form


class Ending(StrEnum):
    """Endings of a study. Values are stored and exported; none is ever reused with another meaning."""

    PROVEN_BETTER = "proven_better"
    TRADE_OFF = "trade_off"
    DEFAULT_INFEASIBLE = "default_infeasible_winner_proven"
    NO_DEFAULT = "no_default"
    SHOWN_AS_GOOD = "shown_as_good"
    DEFAULT_BETTER = "default_better"
    NO_SIGNIFICANT_DIFFERENCE = "no_significant_difference"
    DEFAULT_ONLY = "default_only"
    NOTHING_TO_TUNE = "nothing_to_tune"
    NOT_PROVEN = "not_proven"
    NOTHING_TRIED = "nothing_tried"
    NOT_DECIDED = "not_decided"
    WINNER_DID_NOT_HOLD_UP = "winner_did_not_hold_up"
    NOTHING_FEASIBLE = "nothing_feasible"
    NOTHING_MEASURED = "nothing_measured"
    NOT_COMPARED_YET = "not_compared_yet"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    ENVIRONMENT_FAULT = "environment_fault"
    FAILED = "failed"

    @property
    def answered(self) -> bool:
        """Whether the study ended with an answer: use the winner, or keep the default."""
        return self not in _UNANSWERED

    @property
    def proven(self) -> bool:
        """Whether repeats show that the winner is preferable to the default."""
        return self in {Ending.PROVEN_BETTER, Ending.TRADE_OFF, Ending.DEFAULT_INFEASIBLE}

    @property
    def condition(self) -> str:
        """When a study ends this way, in Markdown for the documentation."""
        return _CONDITIONS[self]


_EARLIER_ENVIRONMENT = 4
"""The exit code of a fault of the environment, as earlier versions stored it."""

_UNANSWERED = frozenset(
    {
        Ending.NOTHING_TRIED,
        Ending.NOT_DECIDED,
        Ending.WINNER_DID_NOT_HOLD_UP,
        Ending.NOTHING_FEASIBLE,
        Ending.NOTHING_MEASURED,
        Ending.NOT_COMPARED_YET,
        Ending.STOPPED,
        Ending.INTERRUPTED,
        Ending.ENVIRONMENT_FAULT,
        Ending.FAILED,
    }
)

_CONDITIONS = {
    Ending.PROVEN_BETTER: "Winner and default met the SLOs in every launch, and the interval of the gain is above 0.",
    Ending.TRADE_OFF: "As `proven_better` for one of several objectives, and proven worse for another.",
    Ending.DEFAULT_INFEASIBLE: "The winner met the SLOs in every launch, including at least two repeats; the default "
    "failed or missed the SLOs in at least one.",
    Ending.NO_DEFAULT: "The default could not run, so there is nothing to compare with; the winner met the SLOs in "
    "every launch, including at least two repeats.",
    Ending.SHOWN_AS_GOOD: "Equivalence test: the interval of the best challenger's gain includes 0 and is within "
    "`confirm.margin` (±2% by default), so any difference is smaller than that. Keep the default.",
    Ending.DEFAULT_BETTER: "The interval of the best challenger's gain is below 0. Keep the default.",
    Ending.NO_SIGNIFICANT_DIFFERENCE: "Not decided within the blocks of the proof: the interval of the best "
    "challenger's gain includes 0 and extends beyond `confirm.margin`. Keep the default.",
    Ending.DEFAULT_ONLY: "The default met the SLOs, and no other configuration did, or none could hold the load "
    "that the default holds.",
    Ending.NOTHING_TO_TUNE: "The study has no parameters or a budget of one trial; only the default was measured.",
    Ending.NOT_PROVEN: "`confirm.repeats` is 0 or 1, so nothing can be proven; the best measurement is reported.",
    Ending.NOTHING_TRIED: "The search tried no configuration other than the default.",
    Ending.NOT_DECIDED: "Fewer than two usable repeats of the best challenger or of the default, or no configuration "
    "other than the default could be ranked.",
    Ending.WINNER_DID_NOT_HOLD_UP: "A challenger failed or missed the SLOs in a repeat, and no other one is proven "
    "better. Keep the default.",
    Ending.NOTHING_FEASIBLE: "No configuration met the SLOs in all of its launches.",
    Ending.NOTHING_MEASURED: "No launch produced a measurement that can be ranked.",
    Ending.NOT_COMPARED_YET: "The study has not ended.",
    Ending.STOPPED: "`autotuner stop` ended the study; results so far are shown without a claim.",
    Ending.INTERRUPTED: "Ctrl-C or a signal ended the study; results so far are shown without a claim.",
    Ending.ENVIRONMENT_FAULT: "The machine or the target prevented trials from running.",
    Ending.FAILED: "The run ended with an error.",
}

_FORMS = {
    Ending.PROVEN_BETTER: Form.BETTER,
    Ending.TRADE_OFF: Form.BETTER,
    Ending.SHOWN_AS_GOOD: Form.EQUIVALENT,
    Ending.DEFAULT_BETTER: Form.WORSE,
    Ending.NO_SIGNIFICANT_DIFFERENCE: Form.UNDECIDED,
    Ending.NOT_DECIDED: Form.UNDECIDED,
    Ending.WINNER_DID_NOT_HOLD_UP: Form.REFUTED,
}

_BY_STATE = {
    "new": Ending.NOT_COMPARED_YET,
    RUNNING: Ending.NOT_COMPARED_YET,
    CUT_OFF: Ending.NOT_COMPARED_YET,
    "stopped": Ending.STOPPED,
    "interrupted": Ending.INTERRUPTED,
}


@dataclass(frozen=True)
class Conclusion:
    """What a study's trials show."""

    ending: Ending
    default: Trial | None = None
    best: Trial | None = None
    """The challenger that the ending is about, or the default if it is the best measurement."""
    winner: Trial | None = None
    """The trial to use; None if there is none. Never one that died or missed the SLOs in a repeat."""
    gains: tuple[Gain | None, ...] = ()
    """Gain of ``best`` over the default, one per objective; None without repeats of both."""
    refuted: tuple[Trial, ...] = ()
    """Challengers that died or missed the SLOs in a repeat, ordered by their first measurements."""
    decision: Decision | None = None
    """The answer of the comparison with the default; None if the ending does not rest on one."""


def conclude(
    spec: StudySpec, state: str, trials: Sequence[Trial], *, environment_fault: bool | None = None
) -> Conclusion:
    """The end of a study, from its stored state and trials alone; pure.

    ``state`` is the stored one; ``environment_fault`` is whether the environment was at fault for the error that ended
    a failed run, if that is known.
    """
    facts = _Facts(spec, tuple(sorted(trials, key=lambda t: t.number)))
    if state == "done":
        return facts.ended()
    ending = _BY_STATE.get(state, _fault(environment_fault, facts.trials))
    best = facts.so_far()
    return facts.conclusion(ending, best, best)


def environment_fault(summary: Mapping[str, Any]) -> bool | None:
    """Whether the environment was at fault for the error that ended a run, from its stored summary.

    None if the run did not end with an error.
    """
    fault = summary.get("environment_fault")
    if isinstance(fault, bool):
        return fault
    code = summary.get("exit_code")  # stored by earlier versions instead
    return code == _EARLIER_ENVIRONMENT if isinstance(code, int) else None


def _fault(environment: bool | None, trials: Sequence[Trial]) -> Ending:
    if environment is not None:
        return Ending.ENVIRONMENT_FAULT if environment else Ending.FAILED
    last = trials[-1] if trials else None
    void = last is not None and last.state is TrialState.VOID and last.failure is not None
    return Ending.ENVIRONMENT_FAULT if void else Ending.FAILED


class _Facts:
    """The facts about a study's trials that an ending depends on."""

    def __init__(self, spec: StudySpec, trials: tuple[Trial, ...]) -> None:
        self.spec = spec
        self.trials = trials
        self.default = records.default_of(trials)
        self.challengers = records.challengers(trials, spec.objectives)
        # What repeats show does not depend on the search's trials, of which there may be many.
        self.proof = [t for t in trials if t.role is not TrialRole.SEARCH]
        self.refuted = tuple(t for t in self.challengers if records.refuted(t, self.proof))
        lost = {t.number for t in self.refuted}
        self.holding = [t for t in self.challengers if t.number not in lost]

    def ended(self) -> Conclusion:
        """Conclusion of a study that ran to completion."""
        if not self._any_rankable():
            feasible = any((v := t.verdict) is not None and (v.feasible or v.doubtful) for t in self._launched())
            measured = any(t.state is TrialState.DONE for t in self._launched())
            return self.conclusion(Ending.NOTHING_FEASIBLE if measured and not feasible else Ending.NOTHING_MEASURED)
        if not self.challengers:
            return self._default_alone()
        compared = self._compared()
        if compared is None and self.refuted:
            return self._did_not_hold_up(None)
        if self.spec.confirm.blocks < LEAST_REPEATS:
            best = self.so_far()
            return self.conclusion(Ending.NOT_PROVEN, best, best)
        if compared is None or self._repeats(compared) < LEAST_REPEATS:
            return self._undecided(compared)
        if self.default is None or self.default.state is not TrialState.DONE:
            return self.conclusion(Ending.NO_DEFAULT, compared, compared)
        if not self._default_holds():
            return self.conclusion(Ending.DEFAULT_INFEASIBLE, compared, compared)
        return self._against_default(self.default, compared)

    def so_far(self) -> Trial | None:
        """The best usable trial, by repeats if it and the default have some, otherwise by first measurements."""
        default = [self.default] if self.default is not None and self._default_holds() else []
        usable = [*default, *self.holding]
        repeated = [t for t in usable if self._standing(t) is not None]
        if len(repeated) > len(default) and (not default or default[0] in repeated):
            return min(repeated, key=lambda t: self._standing(t) or 0.0)
        return next(iter(scoring.rank(usable, self.spec.objectives)), None)

    def conclusion(self, ending: Ending, best: Trial | None = None, winner: Trial | None = None) -> Conclusion:
        """The conclusion for an ending."""
        gains = self._gains(best)
        return Conclusion(ending, self.default, best, winner, gains, self.refuted, self._decision(ending, gains))

    def _default_alone(self) -> Conclusion:
        if not self._default_holds():
            return self.conclusion(Ending.NOTHING_FEASIBLE)
        ending = Ending.DEFAULT_ONLY
        tried = [t for t in self.trials if t.role is TrialRole.SEARCH and not (t.verdict is not None and t.verdict.cut)]
        if any(records.launches(t, self.trials).unranked for t in tried):
            ending = Ending.NOT_DECIDED  # it may be better, by an unknown amount
        if not any(t.role is TrialRole.SEARCH and t.state.finished for t in self.trials):
            # With a budget of one trial, only the default was requested: the run succeeded.
            wanted = self.spec.parameters and self.spec.search.trials > 1
            ending = Ending.NOTHING_TRIED if wanted else Ending.NOTHING_TO_TUNE
        return self.conclusion(ending, self.default, self.default)

    def _undecided(self, best: Trial | None) -> Conclusion:
        if self.refuted and self._default_holds():
            return self._did_not_hold_up(best)
        so_far = self.so_far()
        best = best or so_far
        keep = self._default_holds() and so_far == self.default  # by what is known, the challenger is worse
        return self.conclusion(Ending.NOT_DECIDED, best, self.default if keep else best)

    def _did_not_hold_up(self, best: Trial | None) -> Conclusion:
        """``best`` is the best challenger that held up; None if there is none."""
        if self._default_holds():
            return self.conclusion(Ending.WINNER_DID_NOT_HOLD_UP, best or self.refuted[0], self.default)
        if self.holding:  # met the SLOs once, and was not repeated
            return self._undecided(best)
        return self.conclusion(Ending.NOTHING_FEASIBLE, self.refuted[0])

    def _against_default(self, default: Trial, best: Trial) -> Conclusion:
        if self._repeats(default) < LEAST_REPEATS:
            return self._undecided(best)
        proven = [t for t in self._by_standing() if Effect.BETTER in self._effects(t)]
        if proven:
            worse = Effect.WORSE in self._effects(proven[0])
            return self.conclusion(Ending.TRADE_OFF if worse else Ending.PROVEN_BETTER, proven[0], proven[0])
        if self.refuted:
            return self._did_not_hold_up(best)
        effects = self._effects(best)
        if effects <= {Effect.AS_GOOD}:
            return self.conclusion(Ending.SHOWN_AS_GOOD, best, default)
        if effects <= {Effect.AS_GOOD, Effect.WORSE}:
            return self.conclusion(Ending.DEFAULT_BETTER, best, default)
        return self.conclusion(Ending.NO_SIGNIFICANT_DIFFERENCE, best, default)

    def _launched(self) -> list[Trial]:
        return [t for t in self.trials if t.state.finished]

    def _any_rankable(self) -> bool:
        return any(records.usable(t) for t in self._launched())

    def _default_holds(self) -> bool:
        return self.default is not None and records.launches(self.default, self.trials).held

    def _compared(self) -> Trial | None:
        """The best challenger by its repeats."""
        return next(iter(self._by_standing()), None)

    def _by_standing(self) -> list[Trial]:
        """The repeated challengers that held up, ordered by the mean of their repeats. One that was dropped after its
        first repeat comes last: its mean is a single measurement."""
        repeated = [t for t in self.holding if self._standing(t) is not None]
        return sorted(repeated, key=lambda t: (self._repeats(t) < LEAST_REPEATS, self._standing(t) or 0.0, t.number))

    def _standing(self, trial: Trial) -> float | None:
        return decision.standing(trial, self.proof, self.spec.objectives, self.spec.confirm)

    def _repeats(self, trial: Trial) -> int:
        objectives = enumerate(self.spec.objectives)
        return min(len(records.values(trial, self.proof, o, i)) for i, o in objectives)

    def _gains(self, trial: Trial | None) -> tuple[Gain | None, ...]:
        if trial is None:
            return (None,) * len(self.spec.objectives)
        return decision.gains(trial, self.trials, self.spec.objectives, self.spec.confirm)

    def _effects(self, trial: Trial) -> set[Effect]:
        return decision.effects(self._gains(trial))

    def _decision(self, ending: Ending, gains: Sequence[Gain | None]) -> Decision | None:
        form = _FORMS.get(ending)
        confirm = self.spec.confirm
        if form is None:
            return None
        return Decision(
            form=form,
            margin=confirm.zone,
            confidence=confirm.confidence,
            blocks=min((g.repeats for g in gains if g is not None), default=0),
            at_most=confirm.blocks,
        )
