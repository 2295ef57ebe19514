"""Trials that end before all of their levels are measured: what runs, what is stored, and what every output says."""

import csv
import io
import json
from typing import Any

import pytest

from autotuner.cli.plain_lines import PlainLines
from autotuner.cli.study_page import study_text
from autotuner.cli.trial_page import trial_text
from autotuner.events.follow import read
from autotuner.events.view import StudyView
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.report.documents.markdown import text as escaped
from autotuner.report.exports import best_json, export_text
from autotuner.report.headline import headline, summary_lines
from autotuner.report.result import StudyResult, study_result
from autotuner.report.trial_data import trial_data
from autotuner.store import Store
from autotuner.study.measurement import Distribution, Measurement
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.search.cut import CutReason, Left
from autotuner.study.spec import ConfirmSpec, StudySpec
from autotuner.study.text.forms import parse_objective, parse_slo
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.tuning.ending import Ending
from autotuner.tuning.planning.plan import estimate_s, trial_s
from autotuner.tuning.planning.resume_decision import standing
from autotuner.tuning.racing.cuts import NOT_DECIDED
from support.study_runs import run, slots
from support.web.reports import report_text

pytestmark = pytest.mark.anyio

TTFTS = {"default": 0.1, "1": 0.3, "2": 0.08, "8": 0.25}
"""At concurrency 1, in seconds; half as much more at the other levels."""


def by_latency(endpoint: Endpoint, window: Window) -> Measurement:
    flag = next((a.partition("=")[2] for a in endpoint.argv if a.startswith("--parallel=")), "default")
    ttft = TTFTS[flag] * (1 if window.level.text == "concurrency=1" else 1.5)
    most = dict.fromkeys(("mean", "min", "p50", "p75", "p90", "p95", "p99", "p99_9", "max"), ttft)
    return scripted_measurement(window, distributions={"ttft": Distribution(count=500, std=0.0, **most)})


def study(loop: Any, *, slo: str = "", objective: str = "min p99 ttft", racing: str = "auto", **more: Any) -> StudySpec:
    spec: StudySpec = loop.spec(levels=3, racing=racing, **more)
    slos = (parse_slo(slo),) if slo else ()
    return spec.replaced(objectives=(parse_objective(objective),), slos=slos)


async def result_of(loop: Any, store: Store, spec: StudySpec) -> StudyResult:
    outcome = await run(loop.prepared(spec, script=by_latency), store)
    return study_result(spec, "done", outcome.trials)


def levels(trials: tuple[Trial, ...]) -> list[int]:
    return [len(t.measurements) for t in trials]


async def test_a_missed_slo_ends_the_trial(loop: Any, store: Store) -> None:
    found = await result_of(loop, store, study(loop, slo="p99 ttft <= 200ms"))
    assert levels(found.trials) == [3, 1, 3, 1]
    cut = found.trials[1].cut
    assert cut is not None
    assert (cut.reason, cut.rivals) == (CutReason.SLO, (0,))
    assert cut.left == tuple(Left(scenario="D(16,8)", level=f"concurrency={n}") for n in (2, 4))
    workload = found.spec.workload
    assert cut.saved_s == 2 * (workload.warmup_s + workload.duration_s)
    verdict = found.trials[1].verdict
    assert verdict is not None
    assert (verdict.feasible, verdict.cut, verdict.rankable, verdict.bounds) == (False, True, False, (0.3,))


async def test_a_trial_that_cannot_be_among_the_best_ends(loop: Any, store: Store) -> None:
    found = await result_of(loop, store, study(loop))
    assert levels(found.trials) == [3, 3, 3, 1], "the first of the search has nothing to lose against"
    cut = found.trials[3].cut
    assert cut is not None
    assert (cut.reason, cut.rivals) == (CutReason.CANNOT_WIN, (2,))
    assert found.best is not None
    assert found.best.number == 2


@pytest.mark.parametrize("more", [{"racing": "off"}, {"objective": "max output_throughput"}])
async def test_everything_is_measured_without_racing_or_a_bound(loop: Any, store: Store, more: Any) -> None:
    found = await result_of(loop, store, study(loop, **more))
    assert levels(found.trials) == [3] * 4
    assert found.spec.search.races is ("objective" in more)


async def test_default_and_repeats_are_measured_completely(loop: Any, store: Store) -> None:
    spec = study(loop, slo="p99 ttft <= 90ms at concurrency=1").replaced(confirm=ConfirmSpec(repeats=2, challengers=3))
    found = await result_of(loop, store, spec)
    assert found.trials[0].verdict is not None
    assert not found.trials[0].verdict.feasible
    assert levels(found.trials)[:4] == [3, 1, 3, 1]
    repeats = [t for t in found.trials if t.role is TrialRole.CONFIRM]
    assert repeats
    assert {len(t.measurements) for t in repeats} == {3}


async def test_every_output_says_so(loop: Any, store: Store) -> None:
    found = await result_of(loop, store, study(loop, slo="p99 ttft <= 200ms"))
    missed = found.trials[1]
    assert missed.cut is not None
    text = missed.cut.text
    assert text.startswith("cut after 1 of 3 levels: ")
    page = trial_text(found, missed, [], width=200)
    assert text in page
    assert "left out       D(16,8) concurrency=2, D(16,8) concurrency=4" in page
    assert text in study_text(found, width=250)
    assert escaped(text) in report_text(found)
    rows = list(csv.DictReader(io.StringIO(export_text(found, "csv"))))
    assert {row["trial"]: row["cut"] for row in rows} == {"0": "", "1": text, "2": "", "3": found.trials[3].cut.text}  # type: ignore[union-attr]
    data = json.loads(export_text(found, "json"))
    assert data["trials"][1]["cut"]["rivals"] == [0]
    assert data["racing"] == best_json(found)["racing"]
    assert (data["racing"]["cut"], data["racing"]["levels"]) == (2, 4)
    assert any("2 of 3 trials" in line for line in summary_lines(found))
    view = StudyView("s")
    view.apply(read(store, "s"))
    assert [bool(row.cut) for row in view.rows.values()] == [False, True, False, True]
    printed: list[str] = []
    PlainLines(printed.append, found.spec).update(view)
    assert any(text in line for line in printed)


async def test_slos_at_levels_that_were_left_out_are_neither_met_nor_missed(loop: Any, store: Store) -> None:
    spec = study(loop, slo="p99 ttft <= 200ms at concurrency=1")
    spec = spec.replaced(slos=(*spec.slos, parse_slo("p99 ttft <= 1s at concurrency=4")))
    found = await result_of(loop, store, spec)
    assert [entry["met"] for entry in trial_data(found, found.trials[1], [])["slos"]] == [False, None]


async def test_results_that_were_cut_by_other_goals_are_measured_again(loop: Any, store: Store) -> None:
    strict = study(loop, slo="p99 ttft <= 200ms", objective="max output_throughput")
    await result_of(loop, store, strict)
    looser = strict.replaced(slos=(parse_slo("p99 ttft <= 400ms"),))
    known = standing(loop.prepared(looser), store, {})
    assert (known.stored, known.set_aside, known.reopened) == (2, 0, 2)
    found = await result_of(loop, store, looser)
    aside = [(t.number, t.state, t.set_aside) for t in found.trials if t.set_aside]
    assert aside == [(n, TrialState.VOID, NOT_DECIDED) for n in (1, 3)]
    assert {slots(t): len(t.measurements) for t in found.trials[4:]} == {1: 2, 8: 3}, "450 ms still miss the SLO"


async def test_a_resumed_study_keeps_what_is_still_decided(loop: Any, store: Store) -> None:
    spec = study(loop, slo="p99 ttft <= 200ms")
    first = await result_of(loop, store, spec)
    assert (await result_of(loop, store, spec)).trials == first.trials


async def test_the_plan_says_both_ends(loop: Any) -> None:
    spec = study(loop, slo="p99 ttft <= 200ms")
    assert estimate_s(spec, 4, 0, cut=True) == trial_s(spec) + 3 * trial_s(spec, levels=1)
    assert estimate_s(spec, 4, 0) == 4 * trial_s(spec)


async def test_levels_are_stored_as_soon_as_they_are_measured(loop: Any, store: Store) -> None:
    """An interrupted run keeps them, although the trial does not count."""
    kept: list[list[int]] = []

    def script(endpoint: Endpoint, window: Window) -> Measurement:
        kept.append(levels(tuple(store.trials.all("s"))))
        return by_latency(endpoint, window)

    await run(loop.prepared(study(loop, trials=2), script=script), store)
    assert kept == [[0], [1], [2], [3, 0], [3, 1], [3, 2]]


def fails_later(flag: str, ttfts: dict[str, float]) -> Any:
    """A benchmark in which one configuration becomes slow once each of its levels was measured."""
    seen: dict[tuple[str, str], int] = {}

    def script(endpoint: Endpoint, window: Window) -> Measurement:
        own = next((a.partition("=")[2] for a in endpoint.argv if a.startswith("--parallel=")), "default")
        place = (own, window.level.text)
        seen[place] = seen.get(place, 0) + 1
        slow = own == flag and seen[place] > 1
        ttft = 3.0 if slow else ttfts[own] * (1 if window.level.text == "concurrency=1" else 1.5)
        most = dict.fromkeys(("mean", "min", "p50", "p75", "p90", "p95", "p99", "p99_9", "max"), ttft)
        return scripted_measurement(window, distributions={"ttft": Distribution(count=500, std=0.0, **most)})

    return script


async def test_refuted_trials_cut_no_others(loop: Any, store: Store) -> None:
    script = fails_later("1", {"default": 0.3, "1": 0.05, "2": 0.1, "8": 0.12})
    few = study(loop, slo="p99 ttft <= 1s", trials=2).replaced(confirm=ConfirmSpec(repeats=2, challengers=1))
    await run(loop.prepared(few, script=script), store)
    more = few.replaced(search=few.search.replaced(trials=4))
    outcome = await run(loop.prepared(more, script=script), store)
    searched = [t for t in outcome.trials if t.role is TrialRole.SEARCH]
    assert [(slots(t), len(t.measurements)) for t in searched] == [(1, 3), (2, 3), (8, 2)]
    assert {slots(t) for t in outcome.trials if t.role is TrialRole.CONFIRM} == {"default", 1, 2}


async def test_after_a_refutation_the_best_trial_that_was_cut_takes_its_place(loop: Any, store: Store) -> None:
    script = fails_later("1", {"default": 0.3, "1": 0.05, "2": 0.1, "8": 0.2})
    spec = study(loop, slo="p99 ttft <= 1s", trials=4).replaced(confirm=ConfirmSpec(repeats=2, challengers=1))
    outcome = await run(loop.prepared(spec, script=script), store)
    searched = [t for t in outcome.trials if t.role is TrialRole.SEARCH]
    assert [(slots(t), len(t.measurements), t.set_aside) for t in searched] == [
        (1, 3, ""),
        (2, 1, NOT_DECIDED),
        (8, 1, ""),
        (2, 3, ""),
    ]
    repeats = [t.repeat_of for t in outcome.trials if t.role is TrialRole.CONFIRM and slots(t) == 2]
    assert set(repeats) == {searched[3].number}
    again = await run(loop.prepared(spec, script=script), store)
    assert [t.number for t in again.trials] == [t.number for t in outcome.trials]
    eight = next(t for t in again.trials if slots(t) == 8)
    assert eight.cut is not None
    assert eight.cut.rivals == (searched[3].number,), "not the refuted one"


def holds_once(ttfts: dict[str, float]) -> Any:
    """A benchmark in which every configuration becomes slow once it was measured completely."""
    complete: set[str] = set()
    slow: set[str] = set()

    def script(endpoint: Endpoint, window: Window) -> Measurement:
        own = next((a.partition("=")[2] for a in endpoint.argv if a.startswith("--parallel=")), "default")
        if window.level.text == "concurrency=1" and own in complete:
            slow.add(own)
        if window.level.text == "concurrency=4":
            complete.add(own)
        ttft = 3.0 if own in slow else ttfts[own] * (1 if window.level.text == "concurrency=1" else 1.5)
        most = dict.fromkeys(("mean", "min", "p50", "p75", "p90", "p95", "p99", "p99_9", "max"), ttft)
        return scripted_measurement(window, distributions={"ttft": Distribution(count=500, std=0.0, **most)})

    return script


@pytest.mark.parametrize(
    ("values", "ending", "answer"),
    [
        ((1, 2, 8), Ending.NOTHING_FEASIBLE, "no configuration met the SLOs in all of its launches; closest: trial 1"),
        # The launches of the proof are used up: the last one has met the SLOs once, and was not repeated.
        ((1, 2, 8, 16), Ending.NOT_DECIDED, "best: trial 12, parallel=16: 375 ms p99 TTFT; not decided"),
    ],
)
async def test_when_all_are_refuted_one_after_the_other_the_answer_is_true(
    loop: Any, store: Store, values: tuple[int, ...], ending: Ending, answer: str
) -> None:
    """Each refuted trial had cut the next one, which is measured after all, and refuted in turn."""
    script = holds_once({"default": 0.3, "1": 0.05, "2": 0.1, "8": 0.2, "16": 0.25})
    spec = study(loop, slo="p99 ttft <= 1s", trials=5).replaced(
        parameters=(Parameter(name="parallel", domain=Choices(values=values)),),
        confirm=ConfirmSpec(repeats=2, challengers=1),
    )
    outcome = await run(loop.prepared(spec, script=script), store)
    found = study_result(spec, "done", outcome.trials)
    assert outcome.ending is found.ending is ending
    assert headline(found).startswith(answer)
    assert [slots(t) for t in found.refuted_trials] == list(values[:3])
    searched = [t for t in found.trials if t.role is TrialRole.SEARCH]
    assert [(slots(t), len(t.measurements)) for t in searched if not t.set_aside] == [(v, 3) for v in values]
    assert not any(t.cut for t in searched if not t.set_aside), "no rival is left that had cut them"
    again = await run(loop.prepared(spec, script=script), store)
    assert (again.trials, again.ending) == (outcome.trials, ending)


async def test_a_trial_that_was_measured_again_does_not_come_back(loop: Any, store: Store) -> None:
    strict = study(loop, slo="p99 ttft <= 200ms", trials=2)
    await result_of(loop, store, strict)

    def looser(trials: int) -> StudySpec:
        search = strict.search.replaced(trials=trials)
        return strict.replaced(slos=(parse_slo("p99 ttft <= 500ms"),), search=search)

    await result_of(loop, store, looser(2))
    await result_of(loop, store, looser(3))  # its last trial is better: what was cut would be decided again
    again = await result_of(loop, store, looser(4))
    assert [(t.number, slots(t), t.state) for t in again.trials] == [
        (0, "default", TrialState.DONE),
        (1, 1, TrialState.VOID),
        (2, 1, TrialState.DONE),
        (3, 2, TrialState.DONE),
        (4, 8, TrialState.DONE),
    ]


async def test_a_trial_that_is_still_cut_says_why_by_the_present_goals(loop: Any, store: Store) -> None:
    strict = study(loop, slo="p99 ttft <= 200ms")
    before = (await result_of(loop, store, strict)).trials[1].cut
    cut = (await result_of(loop, store, strict.replaced(slos=(parse_slo("p99 ttft <= 400ms"),)))).trials[1].cut
    assert before is not None
    assert cut is not None
    assert (before.reason, before.rivals) == (CutReason.SLO, (0,))
    assert (cut.reason, cut.rivals) == (CutReason.CANNOT_WIN, (2,))
    assert "300ms at best; trial 2 is better" in cut.text


async def test_without_racing_what_was_cut_is_measured_completely(loop: Any, store: Store) -> None:
    spec = study(loop, slo="p99 ttft <= 200ms")
    await result_of(loop, store, spec)
    found = await result_of(loop, store, spec.replaced(search=spec.search.replaced(racing="off")))
    assert [t.set_aside for t in found.trials] == ["", NOT_DECIDED, "", NOT_DECIDED, "", ""]
    assert {slots(t): len(t.measurements) for t in found.trials if not t.set_aside} == {"default": 3, 1: 3, 2: 3, 8: 3}
