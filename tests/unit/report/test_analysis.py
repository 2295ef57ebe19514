"""Importance compared with calculations by hand, failures by cause, and caveats."""

import math
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.report.analysis import (
    FEW_TRIALS,
    MAX_GROUPS,
    Figure,
    caveats,
    compared,
    comparison,
    explained,
    failure_groups,
    importance,
    trials_text,
    usable_trials,
    value_groups,
)
from autotuner.report.result import StudyResult, objective_value, study_result
from autotuner.report.views.failed_launches import failed_launches
from autotuner.report.views.parameter_table import parameter_table
from autotuner.study.failure import Blame, Failure, FailureCause
from autotuner.study.measurement import SelfCheck
from autotuner.study.search.importance import ParameterImportance, Share
from autotuner.study.spec import ConfirmSpec
from autotuner.study.trial import TrialState
from autotuner.testing.samples import LATENCY, THROUGHPUT, Sample, SampleKind, StudyMaker, configuration, sample_spec
from autotuner.tuning.trials.cpu_noise import FOREIGN_CPU_CORES

Sampled = Callable[[str], StudyResult]
Made = Callable[[Sample], StudyResult]


def test_explained_matches_a_calculation_by_hand() -> None:
    """Means 2 and 5 around 3.5: between = 2 * 2 * 2.25 = 9, within = 4 * 1 = 4, so (9 - 1 * 4 / 2) / 13 = 7 / 13."""
    assert explained([[1.0, 3.0], [4.0, 6.0]]) == pytest.approx(7 / 13)


def test_explained_at_its_limits() -> None:
    assert explained([[1.0, 1.0], [2.0, 2.0]]) == 1.0
    assert explained([[1.0, 2.0], [1.0, 2.0]]) == 0.0, "less than chance gives is nothing"
    for cannot_tell in ([], [[1.0, 2.0]], [[1.0], [2.0]], [[1.0, 1.0], [1.0, 1.0]]):
        assert explained(cannot_tell) is None


@given(st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=4), max_size=5))
def test_explained_is_between_0_and_1(groups: list[list[float]]) -> None:
    found = explained(groups)
    assert found is None or 0 <= found <= 1


def test_importance_finds_the_parameter_that_matters_and_its_best_value(made: Made) -> None:
    maker = StudyMaker(sample_spec(slos=()), noise=0.0, latency=lambda _: 0.1)
    maker.speed = lambda c: 100.0 * float(c.values.get("parallel", 1) or 1)
    maker.measured()
    for parallel in (2, 4):
        for batch in (64, 128):
            maker.measured(configuration(parallel=parallel, ubatch_size=batch))
    first, *others = importance(made(maker.sample()))
    assert (first.parameter, first.share, first.best, first.groups, first.trials) == ("parallel", 1.0, 4, 2, 4)
    values = [objective_value(t) or 0 for t in maker.trials[3:5]]
    assert first.best_mean == pytest.approx(math.sqrt(values[0] * values[1])), "a geometric mean"
    shares = {i.parameter: i.share for i in others}
    assert shares == {"ubatch-size": 0.0, "flash-attn": None}, "no effect, and never varied"


def test_importance_of_a_latency_prefers_low_values(made: Made) -> None:
    maker = StudyMaker(sample_spec(objectives=(LATENCY,), slos=()), noise=0.0)
    maker.measured()
    for parallel in (2, 2, 8, 8):
        maker.measured(configuration(parallel=parallel))
    assert importance(made(maker.sample()))[0].best == 2


def test_many_numbers_become_groups_of_about_equal_size() -> None:
    groups = value_groups(list(range(60)))
    sizes = [groups.count(g) for g in set(groups)]
    assert len(sizes) == MAX_GROUPS
    assert max(sizes) - min(sizes) <= 1
    assert groups == sorted(groups, key=str)


@given(st.lists(st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.sampled_from(["a", "1"])), max_size=40))
def test_groups_never_mix_kinds_of_values(values: list[bool | int | str | None]) -> None:
    groups = value_groups(values)
    for value, group in zip(values, groups, strict=True):
        kinds = {type(v) for v, g in zip(values, groups, strict=True) if g == group}
        assert kinds == {type(value)}


def test_failures_by_cause_with_their_trials(sampled: Sampled) -> None:
    groups = failure_groups(sampled("failures").trials)
    assert [(g.cause, [t.number for t in g.trials]) for g in groups] == [
        ("out_of_memory", [1, 2, 3]),
        ("crash_under_load", [4]),
        ("start_timeout", [5]),
    ]
    assert groups[0].remedy == "lower ctx-size or parallel"
    assert {g.blame for g in groups} == {Blame.CONFIGURATION}


def test_void_trials_are_environment_faults() -> None:
    maker = StudyMaker(sample_spec())
    maker.failed(configuration(), Failure(cause=FailureCause.PORT_UNAVAILABLE, message="no port"))
    maker.trials[0] = maker.trials[0].model_copy(update={"state": TrialState.VOID})
    assert failure_groups(maker.trials)[0].blame is Blame.ENVIRONMENT


def test_figure_is_better_or_worse_if_its_interval_excludes_zero() -> None:
    low = (1.00, 1.01, 0.99)
    high = (1.50, 1.52, 1.48)
    assert Figure("output_throughput", None, low, high).effect == "better"
    assert Figure("output_throughput", None, high, low).effect == "worse"
    assert Figure("ttft", "p99", low, high).effect == "worse"
    assert Figure("ttft", "p99", high, low).effect == "better"
    assert Figure("ttft", "p99", low, (0.98, 1.04, 1.1)).effect == ""
    assert Figure("ttft", "p99", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)).effect == "", "apart, and by chance perhaps"
    assert Figure("ttft", "p99", low[:1], high[:1]).effect == "", "one repeat does not tell"
    assert Figure("ttft", "p99", low, high).change == pytest.approx(0.5)
    assert Figure("ttft", "p99", (), high).change is None
    assert Figure("ttft", "p99", (0.0,), high).change is None


def test_comparison_uses_the_repeats_at_every_level(sampled: Sampled) -> None:
    places = comparison(sampled("winner"))
    assert [(p.scenario, p.level) for p in places] == [("D(128,48)", f"concurrency={n}") for n in (4, 16)]
    throughput = places[1].figures[0]
    assert (throughput.metric, len(throughput.default), len(throughput.candidate)) == ("output_throughput", 3, 3)
    assert throughput.effect == "better"


def test_values_of_the_same_block_are_compared() -> None:
    """The machine slows down by a fifth per block. One block lacks the default's value and another the candidate's, so
    there are as many values on both sides, but of different blocks."""
    spec = sample_spec(slos=(), objectives=(THROUGHPUT,)).replaced(confirm=ConfirmSpec())
    maker = StudyMaker(spec, noise=0.001)
    maker.speed = lambda c: (1.1 if c.values else 1.0) * 400.0 * 0.8 ** (max(0, len(maker.trials) - 2) // 2)
    maker.measured()
    maker.measured(configuration(parallel=8))
    maker.proof(maker.trials[1], 8)
    default, candidate = ([t for t in maker.trials if t.repeat_of == n] for n in (0, 1))
    for trial in (default[0], candidate[-1]):
        without = tuple(m.replaced(scalars={}) for m in trial.measurements)
        maker.trials[trial.number] = trial.replaced(measurements=without)
    [figure, *_] = comparison(study_result(spec, "done", maker.trials))[0].figures
    assert (figure.metric, len(figure.pairs), len(figure.default)) == ("output_throughput", 6, 6)
    assert figure.change == pytest.approx(0.1, abs=0.005)
    assert figure.effect == "better"


def test_trial_compared_with_the_default(sampled: Sampled) -> None:
    assert compared(sampled("empty")) is None
    assert compared(sampled("default_best")) == sampled("default_best").best
    near = compared(sampled("infeasible"))
    assert near is not None
    assert near == sampled("infeasible").nearest


DOUBTS = {
    "winner": [], "as_good": [], "default_best": [],
    "refuted": [[2]], "unproven": [[], [3]], "failures": [[9], [6], [8], [7], [9], [7]], "empty": [[]],
}  # fmt: skip
"""The trials that each caveat names, in order; without the one on how many trials importance rests on."""


@pytest.mark.parametrize("kind", DOUBTS)
def test_caveats(sampled: Sampled, kind: str) -> None:
    result = sampled(kind)
    found = [text for text in caveats(result) if f"only {len(usable_trials(result))} trial" not in text]
    numbers = [re.search(r"[Tt]rials? (\d[\d, and]*)", text) for text in found]
    assert [[int(n) for n in re.findall(r"\d+", m[1])] if m else [] for m in numbers] == DOUBTS[kind], found


def test_caveats_name_their_figures(sampled: Sampled) -> None:
    (refuted, _) = caveats(sampled("refuted"))
    assert failed_launches(sampled("refuted").trials[2], sampled("refuted")) in refuted
    few, _, disturbed, *others = caveats(sampled("failures"))
    assert str(sampled("failures").repeats) in few
    assert f"{FOREIGN_CPU_CORES:g} CPU cores" in disturbed
    assert any("output throughput fell by 18%" in text for text in others), "the measurement's own warning"


def test_caveats_about_default_failed_requests_and_tokenizer(made: Made) -> None:
    maker = StudyMaker(sample_spec())
    maker.latency = lambda c: 0.1 if c.values else 0.9
    maker.measured(failed=1)
    maker.measured(configuration(parallel=8), token_source="tokenizer")
    result = made(maker.sample())
    found = caveats(result)
    assert failed_launches(maker.trials[0], result) in found[0]
    assert [text for text in found if "tokenizer" in text and "trial 1 " in text]
    assert [text for text in found if "trial 0 " in text and "failed" in text]


def test_few_trials_are_a_caveat(sampled: Sampled) -> None:
    for kind, few in (("winner", True), ("huge", False)):
        count = len(usable_trials(sampled(kind)))
        assert (count < FEW_TRIALS) == few
        assert any(f"only {count} trial" in text for text in caveats(sampled(kind))) == few


def test_trials_without_a_usable_figure_are_excluded(made: Made) -> None:
    maker = StudyMaker(sample_spec())
    maker.measured()
    maker.measured(configuration(parallel=8), self_check=SelfCheck(client_limited=True))
    maker.measured(configuration(parallel=4))
    assert [t.number for t, _ in usable_trials(made(maker.sample()))] == [2]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([3], "trial 3"),
        ([3, 4], "trials 3 and 4"),
        ([1, 2, 3, 4, 5, 6, 7], "trials 1, 2, 3, 4, 5, 6 and 7"),
        (range(1, 16), "trials 1, 2, 3, 4, 5, 6 and 9 more"),
    ],
)
def test_trials_as_text(numbers: list[int], text: str) -> None:
    assert trials_text(numbers) == text


@pytest.mark.parametrize("kind", SampleKind)
def test_every_kind_is_analyzed(sampled: Sampled, kind: SampleKind) -> None:
    result = sampled(kind.value)
    assert len(importance(result)) == len(result.spec.parameters)
    assert isinstance(caveats(result), tuple)
    assert isinstance(comparison(result), tuple)


def test_shares_by_a_model_take_precedence_and_say_what_drives_feasibility(sampled: Sampled) -> None:
    result = sampled("winner")
    shares = {result.spec.parameters[0].name: 0.9, result.spec.parameters[-1].name: 0.2}
    modeled = tuple(
        ParameterImportance(parameter=n, objective=Share(alone=s / 2, total=s), feasible=Share(alone=0, total=1 - s))
        for n, s in shares.items()
    )
    result = result.replaced(importance=modeled)
    assert importance(result)[0].modeled == modeled[0]
    table = parameter_table(result)
    assert table is not None
    assert table.rows[0][1:4] == ("45%", "90%", "10%")
    assert table.heads[2] == "with interactions"


@pytest.mark.parametrize(("statistic", "head"), [("p99", "mean p99 TTFT"), ("mean", "mean TTFT")])
def test_the_mean_of_a_mean_is_called_a_mean(made: Made, statistic: str, head: str) -> None:
    goal = LATENCY.replaced(statistic=statistic)
    maker = StudyMaker(spec=sample_spec().replaced(objectives=(goal,)))
    maker.measured()
    maker.measured(configuration(parallel=8))
    table = parameter_table(made(maker.sample()))
    assert table is not None
    assert head in table.heads
