"""Endings of a study: one history for each, and properties of all histories."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.cli.app import with_exit_code
from autotuner.cli.exit_codes import ExitCode, of_ending
from autotuner.report.exports import best_json, plain_data
from autotuner.report.headline import headline
from autotuner.report.result import study_result
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.spec import ConfirmSpec, StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict, Violation
from autotuner.testing.samples import LATENCY, THROUGHPUT, configuration, sample_spec
from autotuner.tuning.ending import Ending, conclude, environment_fault
from autotuner.tuning.proof import records
from autotuner.tuning.proof.decision import LEAST_REPEATS

CRASH = Failure(cause=FailureCause.CRASH_UNDER_LOAD, message="it ended")
FAULT = Failure(cause=FailureCause.PORT_UNAVAILABLE, message="taken")
MISSED = Violation(slo="p99 ttft <= 400ms", where="D(128,48) concurrency=4", value=0.5, threshold=0.4, relative=0.25)
SPEC = sample_spec()
GOOD = ("ok", 100.0)
Kind = tuple[str, float]
"""Outcome of a launch (``ok``, ``limited``, ``missed``, ``crashed``, ``void``) and its throughput."""


def launch(number: int, role: TrialRole, of: int | None, base: int, kind: Kind, objectives: int = 1) -> Trial:
    """A finished launch of the configuration ``base``; the second objective is the inverse of the first."""
    what, value = kind
    verdict: Verdict | None = Verdict(
        feasible=what != "missed",
        objectives=(value, 1 / value)[:objectives],
        total_violation=0.25 if what == "missed" else 0.0,
        violations=(MISSED,) if what == "missed" else (),
        rankable=what != "limited",
        reasons=("the load generator could not keep up",) if what == "limited" else (),
    )
    state = TrialState.DONE
    failure = None
    if what in {"crashed", "void"}:
        verdict = None
        state, failure = (TrialState.FAILED, CRASH) if what == "crashed" else (TrialState.VOID, FAULT)
    return Trial(
        study="s",
        number=number,
        role=role,
        configuration=configuration(parallel=base) if base else configuration(),
        state=state,
        repeat_of=of,
        verdict=verdict,
        failure=failure,
        argv=("serve", str(base)),
    )


def history(first: Sequence[Kind], repeats: Sequence[tuple[int, Kind]] = (), objectives: int = 1) -> list[Trial]:
    """The default and the search's trials as ``first``, then repeats of these by number."""
    roles = [TrialRole.DEFAULT] + [TrialRole.SEARCH] * len(first)
    trials = [launch(n, roles[n], None, n, kind, objectives) for n, kind in enumerate(first)]
    return trials + [
        launch(len(first) + i, TrialRole.CONFIRM, of, of, kind, objectives) for i, (of, kind) in enumerate(repeats)
    ]


def proof(default: Sequence[float], other: Sequence[float], of: int = 1) -> list[tuple[int, Kind]]:
    return [*((0, ("ok", v)) for v in default), *((of, ("ok", v)) for v in other)]


def spec(repeats: int = 3, **changes: Any) -> StudySpec:
    return SPEC.model_copy(update={"confirm": ConfirmSpec(repeats=repeats), **changes})


FLAT = (100.0, 100.5, 99.6)
FAST = (150.0, 151.0, 149.0)
NOISY = (80.0, 100.0, 125.0)
TWO = [GOOD, ("ok", 150.0)]
ENDINGS: dict[Ending, tuple[StudySpec, str, list[Trial]]] = {
    Ending.PROVEN_BETTER: (spec(), "done", history(TWO, proof(FLAT, FAST))),
    Ending.TRADE_OFF: (
        spec(objectives=(THROUGHPUT, LATENCY.model_copy(update={"direction": THROUGHPUT.direction}))),
        "done",
        history(TWO, proof(FLAT, FAST), objectives=2),
    ),
    Ending.DEFAULT_INFEASIBLE: (
        spec(),
        "done",
        history([("missed", 100.0), ("ok", 90.0)], [(0, ("missed", 100.0)), (1, GOOD), (1, GOOD), (0, GOOD)]),
    ),
    Ending.NO_DEFAULT: (spec(), "done", history([("crashed", 1.0), GOOD], [(1, GOOD), (1, GOOD)])),
    Ending.SHOWN_AS_GOOD: (spec(), "done", history(TWO, proof(FLAT, FLAT[::-1]))),
    Ending.DEFAULT_BETTER: (spec(), "done", history([("ok", 200.0), GOOD], proof(FAST, FLAT))),
    Ending.NO_SIGNIFICANT_DIFFERENCE: (spec(), "done", history(TWO, proof(FLAT, NOISY))),
    Ending.DEFAULT_ONLY: (spec(), "done", history([GOOD, ("missed", 300.0), ("crashed", 1.0)])),
    Ending.NOTHING_TO_TUNE: (spec(parameters=()), "done", history([GOOD])),
    Ending.NOT_PROVEN: (spec(repeats=0), "done", history(TWO)),
    Ending.NOTHING_TRIED: (spec(), "done", history([GOOD])),
    Ending.NOT_DECIDED: (spec(), "done", history(TWO, [(0, GOOD), (1, GOOD), (1, ("limited", 900.0))])),
    Ending.WINNER_DID_NOT_HOLD_UP: (
        spec(),
        "done",
        history(TWO, [(0, GOOD), (1, ("ok", 160.0)), (1, ("crashed", 1.0)), (0, GOOD)]),
    ),
    Ending.NOTHING_FEASIBLE: (spec(), "done", history([("missed", 100.0), ("missed", 200.0)])),
    Ending.NOTHING_MEASURED: (spec(), "done", history([("crashed", 1.0), ("limited", 1.0)])),
    Ending.NOT_COMPARED_YET: (spec(), "running", history(TWO, proof(FLAT, FAST))),
    Ending.STOPPED: (spec(), "stopped", history(TWO, proof(FLAT, FAST))),
    Ending.INTERRUPTED: (spec(), "interrupted", history(TWO)),
    Ending.ENVIRONMENT_FAULT: (spec(), "failed", history([GOOD, ("void", 1.0)])),
    Ending.FAILED: (spec(), "failed", history(TWO)),
}


@pytest.mark.parametrize("ending", Ending)
def test_each_ending_has_a_history(ending: Ending) -> None:
    study, state, trials = ENDINGS[ending]
    assert conclude(study, state, trials).ending is ending
    assert ending.condition


def test_exit_code_0_needs_a_complete_study_with_an_answer() -> None:
    answers = {e for e in Ending if of_ending(e) is ExitCode.OK}
    assert answers == {e for e in Ending if e.answered}
    assert all(ENDINGS[e][1] == "done" for e in answers)
    assert all(conclude(*ENDINGS[e]).winner is not None for e in answers)
    assert of_ending(Ending.INTERRUPTED) == 130
    assert {e for e in Ending if of_ending(e) == 3} == {Ending.NOTHING_FEASIBLE, Ending.NOTHING_MEASURED}


def test_winner_that_misses_an_slo_in_a_repeat_loses_to_the_next_one() -> None:
    first = [GOOD, ("ok", 200.0), ("ok", 150.0)]
    trials = history(first, [*proof(FLAT, FAST, of=2), (1, ("ok", 200.0)), (1, ("missed", 200.0))])
    found = conclude(spec(), "done", trials)
    assert (found.ending, found.winner) == (Ending.PROVEN_BETTER, trials[2])
    assert found.refuted == (trials[1],)


def test_winner_that_crashed_is_not_used_even_without_a_default() -> None:
    trials = history([("crashed", 1.0), GOOD], [(1, GOOD), (1, ("crashed", 1.0))])
    found = conclude(spec(), "done", trials)
    assert (found.ending, found.winner) == (Ending.NOTHING_FEASIBLE, None)


def test_one_repeat_proves_nothing() -> None:
    trials = history(TWO, [(0, GOOD), (1, ("ok", 160.0))])
    assert conclude(spec(repeats=1), "done", trials).ending is Ending.NOT_PROVEN
    assert re.search(r"confirm\.repeats .*\b1\b", headline(study_result(spec(repeats=1), "done", trials)))


def test_first_measurements_do_not_count_once_there_are_repeats() -> None:
    trials = history([("ok", 273.0), ("ok", 213.0)], proof((160.0, 161.0, 159.0), (212.0, 213.0, 214.0)))
    found = conclude(spec(), "done", trials)
    assert (found.ending, found.winner) == (Ending.PROVEN_BETTER, trials[1])
    assert found.gains[0] is not None
    assert found.gains[0].relative == pytest.approx(213 / 160 - 1)


@pytest.mark.parametrize("summary", [{"environment_fault": True}, {"exit_code": 4}])
def test_failed_run_with_an_environment_fault(summary: dict[str, Any]) -> None:
    fault = environment_fault(summary)
    assert conclude(spec(), "failed", history(TWO), environment_fault=fault).ending is Ending.ENVIRONMENT_FAULT


@pytest.mark.parametrize("summary", [{"environment_fault": False}, {"exit_code": 1}])
def test_failed_run_with_another_error_after_a_void_trial(summary: dict[str, Any]) -> None:
    fault = environment_fault(summary)
    assert conclude(spec(), "failed", history([("void", 1.0)]), environment_fault=fault).ending is Ending.FAILED


@pytest.mark.parametrize("summary", [{}, {"environment_fault": None}, {"exit_code": None}])
def test_summary_without_an_error(summary: dict[str, Any]) -> None:
    assert environment_fault(summary) is None


def test_unranked_challengers_leave_the_study_undecided() -> None:
    trials = history([GOOD, ("limited", 300.0), ("missed", 300.0)])
    result = study_result(spec(), "done", trials)
    assert (result.ending, result.winner) == (Ending.NOT_DECIDED, trials[0])
    assert trials[1].verdict is not None
    assert f"({trials[1].verdict.reasons[0]})" in headline(result)


def test_challenger_that_measured_worse_is_not_recommended_without_a_decision() -> None:
    """The repeats of the default could not be ranked, so only the first measurements can be compared."""
    trials = history([("ok", 200.0), GOOD], [(0, ("limited", 200.0)), (1, GOOD), (1, GOOD), (0, ("limited", 200.0))])
    found = conclude(spec(), "done", trials)
    assert (found.ending, found.best, found.winner) == (Ending.NOT_DECIDED, trials[1], trials[0])
    text = headline(study_result(spec(), "done", trials))
    assert "the default" in text.partition(";")[0]
    assert "not decided" in text


kinds = st.tuples(
    st.sampled_from(["ok", "ok", "ok", "ok", "limited", "missed", "crashed", "void"]),
    st.one_of(st.sampled_from([100.0, 150.0]), st.floats(50, 200)),
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[StudySpec, str, list[Trial]]:
    """A study in any state, with any launches of any kind in any order."""
    first = draw(st.lists(kinds, max_size=5))
    repeats = draw(st.lists(st.tuples(st.integers(0, len(first) - 1), kinds), max_size=16)) if first else []
    states = st.sampled_from(["done"] * 6 + ["new", "running", "stopped", "interrupted", "failed"])
    study = spec(draw(st.sampled_from([3, 3, 3, 2, 1, 0])))
    if draw(st.booleans()):
        study = study.model_copy(update={"objectives": (THROUGHPUT, LATENCY)})
    return study, draw(states), history(first, repeats, len(study.objectives))


@given(histories())
@settings(max_examples=400, deadline=None)
def test_properties_of_all_histories(case: tuple[StudySpec, str, list[Trial]]) -> None:
    study, state, trials = case
    result = study_result(study, state, trials)
    ending = result.ending
    text = headline(result)
    winner = result.winner
    default = result.default
    if winner is not None:
        held = records.launches(winner, trials)
        assert held.held, "never a winner that died or missed the SLOs"
    if ending.proven or ending is Ending.NO_DEFAULT:
        assert state == "done"
        assert winner is not None
        assert winner.role is TrialRole.SEARCH
        assert len(result.repeat_values(winner)) >= LEAST_REPEATS
    if ending in {Ending.PROVEN_BETTER, Ending.TRADE_OFF}:
        assert default is not None
        assert records.launches(default, trials).held
        assert any(g is not None and g.low > 0 for g in result.gains)
    assert ("equivalent" in text) == (ending is Ending.SHOWN_AS_GOOD)
    if ending is Ending.SHOWN_AS_GOOD:
        assert all(g is not None and -0.03 <= g.low <= 0 <= g.high <= 0.03 for g in result.gains)
    claims = text.startswith("best: ") and "not proven" not in text and "not decided" not in text
    assert claims == (ending.proven or ending is Ending.NO_DEFAULT)
    assert (ending.answered) <= (state == "done" and winner is not None)


@given(histories())
@settings(max_examples=200, deadline=None)
def test_outputs_agree_and_name_failed_repeats(case: tuple[StudySpec, str, list[Trial]]) -> None:
    study, state, trials = case
    result = study_result(study, state, trials)
    data = plain_data(result)
    best = best_json(result)
    assert data["ending"] == best["ending"] == result.ending.value == Ending(data["ending"])
    assert data["headline"] == best["headline"] == headline(result)
    assert with_exit_code(result) == {**data, "exit_code": int(of_ending(result.ending))}
    assert best["proven"] == result.ending.proven
    assert (best["winner"] is None) == (result.winner is None) == (result.command == ())
    named = [t for t in result.refuted_trials if f"trial {t.number} " in headline(result)]
    for trial in named:
        found = records.launches(trial, trials)
        for count, what in ((found.died, "failed"), (found.missed, "missed the SLOs")):
            if count:
                assert f"{count} of {found.total} launch" in headline(result)
                assert what in headline(result)
    if result.ending is Ending.WINNER_DID_NOT_HOLD_UP:
        assert named


_QUALITY = {ExitCode.OK: 1, ExitCode.FAILED: 0, ExitCode.INFEASIBLE: 0}


def quality(ending: Ending) -> int:
    """2 for a claim, 1 for an answer without a claim, 0 otherwise."""
    return 2 if ending.proven or ending is Ending.NO_DEFAULT else _QUALITY[of_ending(ending)]


@given(histories(), st.integers(1, 4), st.sampled_from(["missed", "crashed"]))
@settings(max_examples=400, deadline=None)
def test_failed_repeat_never_improves_the_ending(
    case: tuple[StudySpec, str, list[Trial]], number: int, how: str
) -> None:
    study, _, trials = case
    challengers = [t for t in trials if t.role is TrialRole.SEARCH and t.number == number and records.usable(t)]
    before = conclude(study, "done", trials).ending
    for trial in challengers:
        bad = launch(len(trials), TrialRole.CONFIRM, trial.number, trial.number, (how, 500.0), 2)
        after = conclude(study, "done", [*trials, bad])
        assert quality(after.ending) <= quality(before)
        assert after.winner != trial


@given(histories(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_order_of_stored_trials_does_not_matter(case: tuple[StudySpec, str, list[Trial]], source: Any) -> None:
    study, state, trials = case
    shuffled = source.sample(trials, len(trials))
    assert conclude(study, state, shuffled) == conclude(study, state, trials)


def test_budget_of_one_trial_only_measures_the_default() -> None:
    study = spec(search=SPEC.search.model_copy(update={"trials": 1}))
    ending = conclude(study, "done", history([GOOD])).ending
    assert (ending, of_ending(ending)) == (Ending.NOTHING_TO_TUNE, ExitCode.OK)
