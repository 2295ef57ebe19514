"""Importance against figures worked out by hand, failures by cause, and what a careful reader is told to doubt."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.report.analysis import (
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
from autotuner.report.result import StudyResult, objective_value
from autotuner.study.failure import Blame, Failure, FailureCause
from autotuner.study.measurement import SelfCheck
from autotuner.study.trial import TrialState
from autotuner.testing.samples import LATENCY, Sample, SampleKind, StudyMaker, configuration, sample_spec

Sampled = Callable[[str], StudyResult]
Made = Callable[[Sample], StudyResult]


def test_explained_by_hand() -> None:
    """Means 2 and 5 around 3.5: between = 2 * 2 * 2.25 = 9, within = 4 * 1 = 4, so (9 - 1 * 4 / 2) / 13 = 7 / 13."""
    assert explained([[1.0, 3.0], [4.0, 6.0]]) == pytest.approx(7 / 13)


def test_explained_at_its_limits() -> None:
    assert explained([[1.0, 1.0], [2.0, 2.0]]) == 1.0
    assert explained([[1.0, 2.0], [1.0, 2.0]]) == 0.0, "less than chance gives is nothing"
    for cannot_tell in ([], [[1.0, 2.0]], [[1.0], [2.0]], [[1.0, 1.0], [1.0, 1.0]]):
        assert explained(cannot_tell) is None


@given(st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=4), max_size=5))
def test_a_share_is_a_share(groups: list[list[float]]) -> None:
    found = explained(groups)
    assert found is None or 0 <= found <= 1


def test_importance_names_what_mattered_and_the_best_value(made: Made) -> None:
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


def test_importance_of_a_latency_prefers_the_smaller(made: Made) -> None:
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


def test_voided_trials_are_failures_of_the_environment() -> None:
    maker = StudyMaker(sample_spec())
    maker.failed(configuration(), Failure(cause=FailureCause.PORT_UNAVAILABLE, message="no port"))
    maker.trials[0] = maker.trials[0].model_copy(update={"state": TrialState.VOID})
    assert failure_groups(maker.trials)[0].blame is Blame.ENVIRONMENT


def test_a_figure_is_better_or_worse_where_its_interval_leaves_out_zero() -> None:
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


def test_comparison_is_of_the_repeats_at_every_level(sampled: Sampled) -> None:
    places = comparison(sampled("winner"))
    assert [(p.scenario, p.level) for p in places] == [("D(128,48)", f"concurrency={n}") for n in (4, 16)]
    throughput = places[1].figures[0]
    assert (throughput.metric, len(throughput.default), len(throughput.candidate)) == ("output_throughput", 3, 3)
    assert throughput.effect == "better"


def test_what_stands_against_the_default(sampled: Sampled) -> None:
    assert compared(sampled("empty")) is None
    assert compared(sampled("default_best")) == sampled("default_best").best
    near = compared(sampled("infeasible"))
    assert near is not None
    assert near == sampled("infeasible").nearest


DOUBTS = {
    "winner": [],
    "as_good": [],
    "default_best": [],
    "refuted": ["Trial 2 did not hold up: 1 of 2 launches died (crash under load)"],
    "unproven": ["was not measured again: its value was picked as the best of many and is biased upwards"],
    "failures": [
        "Only 2 repeats", "In trial 6 the load generator could not keep up", "In trial 8 other processes used more",
        "In trial 7 the load was not steady", "In trial 9 the server reported no usage, so chunks were counted",
        "In trial 7: output throughput fell by 18 %",
    ],
    "empty": ["The study is not finished"],
}  # fmt: skip


@pytest.mark.parametrize("kind", DOUBTS)
def test_doubts(sampled: Sampled, kind: str) -> None:
    found = [
        text for text in caveats(sampled(kind)) if "Importance rests" not in text and "differ by no more" not in text
    ]
    assert len(found) == len(DOUBTS[kind]), found
    assert all(words in text for words, text in zip(DOUBTS[kind], found, strict=True)), found


def test_doubts_about_default_failed_requests_and_tokenizer(made: Made) -> None:
    maker = StudyMaker(sample_spec())
    maker.latency = lambda c: 0.1 if c.values else 0.9
    maker.measured(failed=1)
    maker.measured(configuration(parallel=8), token_source="tokenizer")
    text = " ".join(caveats(made(maker.sample())))
    assert "The default itself cannot be relied on: 1 of 1 launch missed the SLOs" in text
    assert "tokens were counted by a tokenizer" in text
    assert "In trial 0 some requests failed" in text


def test_few_trials_are_called_a_hint_and_many_are_not(sampled: Sampled) -> None:
    assert any("take it as a hint" in text for text in caveats(sampled("winner")))
    assert not any("take it as a hint" in text for text in caveats(sampled("huge")))


def test_trials_without_a_usable_figure_are_left_out(made: Made) -> None:
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
