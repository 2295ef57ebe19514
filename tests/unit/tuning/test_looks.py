"""Looks: what short windows predict, when a trial ends by one, and what is stored of it."""

import csv
import io
from typing import Any

import pytest

from autotuner.cli.study_page import study_text
from autotuner.cli.trial_page import trial_text
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.report.exports import export_text
from autotuner.report.racing import racing_summary
from autotuner.report.result import StudyResult, study_result
from autotuner.store import Store
from autotuner.study.configuration import DEFAULT
from autotuner.study.measurement import Measurement, SelfCheck
from autotuner.study.search.cut import CutReason
from autotuner.study.spec import ConfirmSpec, StudySpec
from autotuner.study.text.forms import parse_objective, parse_scenario, parse_slo
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.workload import Concurrency, RequestRate
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.tuning.looks import CONFIDENCE, SHARE, by_load, look_places, look_s, look_workload, verdict_by_looks
from autotuner.tuning.planning.plan import estimate_s, trial_s
from autotuner.tuning.planning.resume_decision import standing
from autotuner.tuning.racing.cuts import NOT_DECIDED, cut_by_looks
from autotuner.tuning.study_session import run_session
from autotuner.tuning.trials.racing import pays_off
from autotuner.tuning.verdicts import verdict_on
from support.studies.windows import window

LEVELS = (Concurrency(in_flight=1), Concurrency(in_flight=8))


def study(loop: Any, **search: Any) -> StudySpec:
    spec: StudySpec = loop.spec(racing="auto", **search)
    return spec.replaced(workload=spec.workload.replaced(levels=LEVELS))


def complete(spec: StudySpec, number: int, rate: float, look: float, ttft: float = 0.1) -> Trial:
    windows = tuple(window(level, rate, ttft) for level in LEVELS)
    return Trial(
        study="s",
        number=number,
        role=TrialRole.SEARCH if number else TrialRole.DEFAULT,
        configuration=DEFAULT,
        state=TrialState.DONE,
        looks=(window(LEVELS[1], look, ttft),),
        measurements=windows,
        verdict=verdict_on(spec, windows),
    )


def best(spec: StudySpec, look: float, trials: list[Trial], **more: Any) -> float | None:
    found = verdict_by_looks(spec, (window(LEVELS[1], look, **more),), trials, 99)
    return None if found is None else found.objectives[0]


def test_a_short_window_predicts_full_ones_by_those_of_other_trials(loop: Any) -> None:
    spec = study(loop)
    slower = [complete(spec, n, 50.0 + n, 100.0 + 2 * n) for n in range(6)]
    found = best(spec, 100.0, slower)
    assert found is not None
    assert 50.0 < found < 70.0, "looks showed twice what full windows did, and hardly scattered"
    few = best(spec, 100.0, slower[:1])
    assert few is not None
    assert found < few < 80.0
    scattered = [complete(spec, n, 50.0 * (3 if n % 2 else 1), 100.0) for n in range(6)]
    wide = best(spec, 100.0, scattered)
    assert wide is not None
    assert wide > 200.0


def test_without_pairs_or_answers_nothing_is_predicted(loop: Any) -> None:
    spec = study(loop)
    known = complete(spec, 0, 50.0, 100.0)
    assert best(spec, 100.0, []) is None
    assert best(spec, 100.0, [known.replaced(looks=())]) is None
    assert best(spec, 100.0, [known.replaced(role=TrialRole.CONFIRM)]) is None
    assert best(spec, 100.0, [known], self_check=SelfCheck(client_limited=True)) is None
    assert verdict_by_looks(spec, (window(LEVELS[1], 1.0).replaced(failed=493),), [known], 99) is None
    assert verdict_by_looks(spec, (window(LEVELS[1], 1.0).replaced(failed=492),), [known], 99) is not None


def test_slos_count_if_even_the_best_end_misses_them(loop: Any) -> None:
    spec = study(loop).replaced(slos=(parse_slo("mean ttft <= 200ms"), parse_slo("p99 ttft <= 1s at concurrency=1")))
    known = [complete(spec, n, 50.0, 50.0) for n in range(6)]
    ends = {}
    for ttft in (0.1, 0.22, 0.5):
        found = verdict_by_looks(spec, (window(LEVELS[1], 50.0, ttft),), known, 99)
        assert found is not None
        ends[ttft] = [(v.slo, v.where) for v in found.violations]
        assert found.feasible is not ends[ttft]
    assert ends == {0.1: [], 0.22: [], 0.5: [("mean ttft <= 200ms", "D(16,8) concurrency=8")]}


def test_looks_are_at_the_highest_load_and_short(loop: Any) -> None:
    spec = study(loop)
    (place,) = look_places(spec)
    assert place == (spec.workload.scenarios[0], LEVELS[1])
    short = look_workload(spec.workload.replaced(requests=10))
    assert (short.duration_s, short.longest_s, short.requests) == (30 * SHARE, 30 * SHARE, 3)
    assert look_s(spec) == spec.workload.warmup_s + 30 * SHARE
    rates = (RequestRate(rate=2), RequestRate(rate=9), RequestRate(rate=4))
    assert by_load(place[0], rates) == [rates[1], rates[2], rates[0]]
    conversations = spec.workload.replaced(scenarios=(parse_scenario("D(8,8) turns=3"),))
    assert look_places(spec.replaced(workload=conversations)) == ()
    assert look_s(spec.replaced(search=spec.search.replaced(racing="levels"))) == 0


def test_looks_end_where_they_save_nothing(loop: Any) -> None:
    spec = study(loop).replaced(confirm=ConfirmSpec(challengers=1))
    made = [complete(spec, n, 50.0, 50.0) for n in range(9)]
    assert pays_off(spec, made[:2]), "the first one cannot lose against itself"
    assert not pays_off(spec, made)


def by_rate(endpoint: Endpoint, window_: Window) -> Measurement:
    flag = next((a.partition("=")[2] for a in endpoint.argv if a.startswith("--parallel=")), "default")
    rate = {"default": 100.0, "1": 120.0, "2": 110.0, "8": 20.0}[flag]
    short = window_.workload.duration_s < 30
    return scripted_measurement(window_, rate=rate * (0.8 if short else 1.0), window_s=window_.workload.duration_s)


async def searched(loop: Any, store: Store, spec: StudySpec) -> StudyResult:
    prepared = loop.prepared(spec, script=by_rate)
    prepared.benchmark.short_windows = True
    outcome = await run_session(prepared, store, source="test")
    return study_result(spec, "done", outcome.trials)


@pytest.mark.anyio
async def test_a_look_ends_a_hopeless_trial_and_every_output_says_so(loop: Any, store: Store) -> None:
    spec = study(loop)
    found = await searched(loop, store, spec)
    assert [len(t.looks) for t in found.trials] == [1, 1, 1, 1]
    assert [len(t.measurements) for t in found.trials] == [2, 2, 2, 0]
    assert [m.level for m in found.trials[1].measurements] == list(LEVELS), "in the order of the file"
    lost = found.trials[3]
    assert lost.cut is not None
    assert lost.verdict is not None
    assert (lost.cut.reason, lost.cut.confidence, lost.cut.rivals) == (CutReason.CANNOT_WIN, CONFIDENCE, (1,))
    assert (lost.verdict.objectives, lost.verdict.cut, lost.verdict.rankable) == ((None,), True, False)
    assert lost.verdict.bounds[0] is not None
    assert 20.0 < lost.verdict.bounds[0] < 60.0
    assert lost.cut.text in study_text(found, width=300)
    page = trial_text(found, lost, [], width=200)
    assert "D(16,8) concurrency=8: short window before the full ones, 50 requests" in page
    rows = list(csv.DictReader(io.StringIO(export_text(found, "csv"))))
    assert [(row["trial"], row["short_window"]) for row in rows[-4:]] == [
        ("2", "true"),
        ("2", "false"),
        ("2", "false"),
        ("3", "true"),
    ]
    summary = racing_summary(found)
    assert summary is not None
    assert summary.saved_s == 2 * 32 - 4 * (2 + 7.5)
    assert found.best is not None
    assert found.best.number == 1


@pytest.mark.anyio
async def test_after_a_change_of_goals_its_bound_is_computed_again(loop: Any, store: Store) -> None:
    spec = study(loop)
    await searched(loop, store, spec)
    assert not [t for t in (await searched(loop, store, spec)).trials if t.set_aside]
    other = spec.replaced(objectives=(parse_objective("max output_throughput at concurrency=8"),))
    again = (await searched(loop, store, other)).trials[3]
    assert (again.set_aside, again.verdict is not None and again.verdict.cut) == ("", True)
    assert again.cut is not None
    assert "max output_throughput at concurrency=8 is" in again.cut.text
    levels = other.replaced(search=other.search.replaced(racing="levels"))
    assert standing(loop.prepared(levels), store, {}).reopened == 1, "short windows count no more"
    easier = spec.replaced(objectives=(parse_objective("min mean ttft"),))
    aside = [t for t in (await searched(loop, store, easier)).trials if t.set_aside]
    assert [(t.number, t.set_aside) for t in aside] == [(3, NOT_DECIDED)]


def test_a_refuted_trial_beats_no_short_window(loop: Any) -> None:
    spec = study(loop).replaced(confirm=ConfirmSpec(challengers=1))
    made = [complete(spec, 0, 50.0, 50.0), complete(spec, 1, 500.0, 500.0)]
    look = (window(LEVELS[1], 20.0),)
    assert cut_by_looks(spec, look, made, 2) is not None
    died = made[1].replaced(number=9, role=TrialRole.CONFIRM, repeat_of=1, state=TrialState.FAILED, verdict=None)
    assert cut_by_looks(spec, look, [*made, died], 2) is None


def test_the_plan_counts_looks(loop: Any) -> None:
    spec = study(loop)
    looks = look_s(spec)
    assert estimate_s(spec, 4, 0, looks_s=looks) == pytest.approx(4 * (trial_s(spec) + looks))
    assert estimate_s(spec, 4, 0, looks_s=looks, cut=True) == pytest.approx(
        trial_s(spec) + 4 * looks + 3 * trial_s(spec, levels=0)
    )
