"""A study that ends because no untried configuration can be much better, and the bound that others end with."""

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from autotuner.plugins.search import Search, SearchContext, Stop
from autotuner.report.exports import best_json
from autotuner.report.headline import bound_text, summary_lines
from autotuner.report.result import StudyResult, study_result
from autotuner.store import Store
from autotuner.study.base import FrozenModel
from autotuner.study.configuration import Configuration
from autotuner.study.search.stopping import GainBound, StopRule
from autotuner.study.text.forms import parse_objective
from autotuner.study.trial import Trial, TrialRole
from autotuner.tuning.budget import trials_used_up
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.stored_summary import stored_findings
from autotuner.tuning.study_session import Outcome
from support.study_runs import by_slots, run

pytestmark = pytest.mark.anyio

RATES = {"default": 100.0, "1": 90.0, "2": 150.0, "8": 120.0}


class Certain(Search):
    """Tries the whole space in its order, and states a bound that halves with every trial."""

    kind: ClassVar[str] = "certain"
    bounds_gain: ClassVar[bool] = True

    def __init__(self, context: SearchContext, asked: list[tuple[float, list[int]]]) -> None:
        super().__init__(FrozenModel(), context)
        self._asked = asked
        self._told: set[int] = set()

    def ask(self, history: Sequence[Trial], free: int = 1) -> Configuration | Stop:
        known = {t.configuration.key for t in history}
        return next((c for c in self.context.space.grid() if c.key not in known), Stop("all"))

    def tell(self, trial: Trial) -> None:
        self._told.add(trial.number)

    def tell_repeat(self, trial: Trial) -> None:
        assert trial.number not in self._told, "told once"
        self._told.add(trial.number)

    def remaining_gain(self, history: Sequence[Trial], confidence: float) -> GainBound | None:
        assert {t.number for t in history if t.state.finished} <= self._told
        self._asked.append((confidence, [t.number for t in history if t.role is TrialRole.CONFIRM]))
        return GainBound(gain=0.16 / 2 ** len(history), confidence=confidence, trial=0, untried=3)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, list[int]]]:
    """Confidence and repeats, for each bound that was asked for."""
    found: list[tuple[float, list[int]]] = []
    monkeypatch.setattr(Prepared, "search", lambda p, _=None: Certain(SearchContext(p.space, (), 1, 9), found))
    return found


async def outcome_of(loop: Any, store: Store, rule: StopRule | None, *, repeats: int = 0) -> Outcome:
    spec = loop.spec(stop=rule, repeats=repeats)
    return await run(loop.prepared(spec, script=by_slots(RATES)), store)


def stored(store: Store) -> StudyResult:
    record = store.studies.get("s")
    assert record is not None
    summary = record.summary or {}
    return study_result(record.spec, record.state, store.trials.all("s"), findings=stored_findings(summary))


async def test_the_search_ends_once_the_bound_is_within_the_rule(loop: Any, store: Store, asked: Any) -> None:
    outcome = await outcome_of(loop, store, StopRule(remaining_gain=0.05, confidence=0.9))
    assert len(outcome.trials) == 2, "0.08 after the default, 0.04 after the next trial"
    assert outcome.findings.bound == GainBound(gain=0.04, confidence=0.9, trial=0, untried=3)
    assert outcome.why == outcome.findings.bound.within(StopRule(remaining_gain=0.05))
    assert {confidence for confidence, _ in asked} == {0.9}


async def test_a_study_that_ends_otherwise_has_the_bound_that_holds_then(loop: Any, store: Store, asked: Any) -> None:
    outcome = await outcome_of(loop, store, StopRule(remaining_gain=0.001))
    assert outcome.why == trials_used_up(4)
    assert outcome.findings.bound is not None
    assert outcome.findings.bound.gain == pytest.approx(0.01)
    without = await run(loop.prepared(loop.spec("other"), script=by_slots(RATES)), store)
    assert without.findings.bound == outcome.findings.bound
    assert asked[-1] == (0.95, [])


async def test_the_bound_counts_repeats_and_the_rule_does_not(loop: Any, store: Store, asked: Any) -> None:
    """Otherwise a resumed study could go on searching because its proof has changed the model."""
    rule = StopRule(remaining_gain=0.05)
    first = await outcome_of(loop, store, rule, repeats=1)
    assert [t.role.value for t in first.trials] == ["default", "search", "confirm", "confirm"]
    assert asked == [(0.95, []), (0.95, []), (0.95, [2, 3])]
    second = await outcome_of(loop, store, rule, repeats=1)
    assert second.trials == first.trials
    assert (second.why, second.findings.bound) == (first.why, first.findings.bound)


async def test_answer_and_json_have_the_bound_of_a_stored_study(loop: Any, store: Store, asked: Any) -> None:
    outcome = await outcome_of(loop, store, None)
    result = stored(store)
    assert result.bound == outcome.findings.bound
    assert outcome.findings.bound is not None
    assert best_json(result)["bound"] == outcome.findings.bound.model_dump()
    assert any(outcome.findings.bound.text[1:] in line for line in summary_lines(result))


async def test_a_bound_that_says_little_is_only_in_json(loop: Any, store: Store, asked: Any) -> None:
    """Twice as good, in either direction; and a bound about another trial than the answer says which is which."""
    await outcome_of(loop, store, None)
    result = stored(store)
    assert result.winner is not None
    bound = GainBound(gain=12.04, confidence=0.95, trial=result.winner.number, untried=3)
    (vague,) = [line for line in summary_lines(result.replaced(bound=bound)) if "untried" in line]
    assert vague.startswith("Too little is known")
    assert best_json(result.replaced(bound=bound))["bound"]["gain"] == 12.04
    latency = result.spec.replaced(objectives=(parse_objective("min mean ttft"),))
    assert bound_text(bound.replaced(gain=0.6), result.replaced(spec=latency)) == vague
    assert bound_text(bound.replaced(gain=0.4), result.replaced(spec=latency)) != vague
    assert bound_text(bound.replaced(gain=0.6), result).endswith(f"than trial {bound.trial}.")
    other = bound_text(bound.replaced(gain=0.6, trial=7), result)
    assert f"Trial 7 is the best one by the search's model; the answer, trial {bound.trial}, rests on" in other
    kept = result.replaced(winner=result.default)
    assert bound_text(bound.replaced(gain=0.6, trial=7), kept).endswith(
        "is kept because nothing was proven to be better."
    )


async def test_searches_that_cannot_tell_have_no_bound(loop: Any, store: Store) -> None:
    outcome = await outcome_of(loop, store, None)
    assert outcome.findings.bound is None
    assert stored(store).bound is None
    assert best_json(stored(store))["bound"] is None


async def test_importance_is_stored_with_the_study(loop: Any, store: Store) -> None:
    """Whatever the search is; here only one parameter is tuned."""
    outcome = await outcome_of(loop, store, None)
    (found,) = outcome.findings.importance
    assert found.parameter == "parallel"
    assert stored(store).importance == outcome.findings.importance
    few = await run(loop.prepared(loop.spec("few", trials=2), script=by_slots(RATES)), store)
    assert few.findings.importance == ()
