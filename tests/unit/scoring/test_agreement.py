"""Answers of two servers compared, beyond what one server's answers differ among themselves."""

import math
from random import Random

import pytest

from autotuner.scoring.agreement import (
    LEAST_PROMPTS,
    compare_engines,
    judge,
    quality_text,
    quality_violation,
    undecidable,
    with_quality,
)
from autotuner.study.quality.answers import Answers, Reference, Token
from autotuner.study.quality.result import Accuracy, Drop, Excess, QualityResult, QualityState, TaskResult
from autotuner.study.quality.spec import QualitySpec, TasksSpec
from autotuner.study.verdict import Verdict
from autotuner.testing.toy_model import ToyModel

SPEC = QualitySpec()


def said(*answers: str, top: dict[str, float] | None = None) -> Answers:
    """One answer per text; every character is a token."""
    made = tuple(tuple(Token(text=c, top=top or {}) for c in text) if text else None for text in answers)
    return Answers(method="m", answers=made)


def reference(*answers: str, control: str = "", top: dict[str, float] | None = None) -> Reference:
    controls = said(*[control or a for a in answers], top=top)
    return Reference(full=said(*answers, top=top), controls=(controls, said(*answers, top=top)))


def compared(default: ToyModel, other: ToyModel, seed: int, *, prompts: int = 16, tokens: int = 8) -> QualityResult:
    source = Random(seed)
    full, alone, shuffled, candidate = (
        model.answers(prompts, tokens, source) for model in (default, default, default, other)
    )
    return judge(Reference(full=full, controls=(alone, shuffled)), candidate)


def test_answers_are_compared_up_to_the_first_different_token() -> None:
    default = reference(*["abcd"] * 16)
    found = judge(default, said(*["abxd"] * 8, *["abcd"] * 8))
    assert found.state is QualityState.COMPARED
    assert found.candidate is not None
    assert found.candidate.tokens == 8 * 3 + 8 * 4
    assert found.candidate.agreement == pytest.approx(1 - 8 / 56)
    assert found.candidate.identical == 0.5
    assert found.candidate.kl is None
    assert found.disagreement is not None
    assert found.disagreement.value == pytest.approx(8 / 56)


def test_an_answer_that_ends_early_differs() -> None:
    found = judge(reference(*["abcd"] * 16), said(*["ab"] * 16))
    assert found.candidate is not None
    assert found.candidate.identical == 0


def test_kl_of_known_distributions() -> None:
    one = {"a": math.log(0.6), "b": math.log(0.4)}
    two = {"a": math.log(0.5), "b": math.log(0.5)}
    default = Reference(full=said(*["a"] * 16, top=one), controls=(said(*["a"] * 16, top=one),))
    found = judge(default, said(*["a"] * 16, top=two))
    assert found.candidate is not None
    assert found.candidate.kl == pytest.approx(0.6 * math.log(0.6 / 0.5) + 0.4 * math.log(0.4 / 0.5))
    assert found.candidate.logprob == pytest.approx(math.log(0.5 / 0.6))
    assert found.control is not None
    assert found.control.kl == 0


def test_kl_of_truncated_distributions_is_a_lower_bound() -> None:
    source = Random(1)
    names = [str(i) for i in range(30)]
    for _ in range(100):
        p, q = ([source.expovariate(1) for _ in range(30)] for _ in range(2))
        p, q = ([x / math.fsum(side) for x in side] for side in (p, q))
        true = math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        tops = [dict(sorted(zip(names, map(math.log, side), strict=True), key=lambda t: -t[1])[:10]) for side in (p, q)]
        default = Reference(full=said(*["a"] * 16, top=tops[0]), controls=(said(*["a"] * 16, top=tops[0]),))
        found = judge(default, said(*["a"] * 16, top=tops[1])).candidate
        assert found is not None
        assert found.kl is not None
        assert 0 <= found.kl <= true + 1e-9


def test_what_the_default_disagrees_with_itself_is_subtracted() -> None:
    default = reference(*["abcd"] * 16, control="abxd")
    found = judge(default, said(*["abxd"] * 16))
    assert found.disagreement is not None
    assert found.disagreement.value == 0
    assert quality_violation(found, SPEC) is None


def test_too_few_answers_decide_nothing() -> None:
    default = reference(*["abcd"] * 16)
    few = said(*["abcd"] * (LEAST_PROMPTS - 1), "").replaced(late=True, problem="HTTP 500")
    found = judge(default, few)
    assert found.state is QualityState.UNDECIDED
    assert "15 prompts" in found.why
    assert "time limit" in found.why
    assert "HTTP 500" in found.why
    violation = quality_violation(found, SPEC)
    assert violation is not None
    assert violation.value is None
    assert not with_quality(Verdict(feasible=True), found, SPEC).feasible


def spoken(*texts: str) -> Answers:
    return said(*texts).replaced(texts=texts)


def test_engines_are_compared_by_their_words() -> None:
    text = "the harbor town lies between two cliffs"
    default = Reference(full=spoken(*[text] * 16), controls=(spoken(*[text] * 16),))
    same = compare_engines(default, Reference(full=spoken(*[f" {text}\n"] * 16), controls=()), 0.005)
    assert same.candidate is not None
    assert (same.candidate.agreement, same.candidate.tokens, same.candidate.kl) == (1, 7 * 16, None)
    other = compare_engines(default, Reference(full=spoken(*["the port"] * 16), controls=()), 0.005)
    assert other.disagreement is not None
    assert other.disagreement.low == 0.5
    nothing = compare_engines(default, Reference(full=said(*[""] * 16), controls=()), 0.005)
    assert nothing.disagreement is None
    assert "only 0 prompts" in nothing.why
    for state in QualityState:
        result = QualityResult(state=state, engine=other.replaced(reference=0))
        violation = quality_violation(result, SPEC)
        assert violation is not None
        assert "its engine's reference agrees with trial 0 on 50.0% of words (control 100.0%)" in violation.text
        unknown = quality_violation(result.replaced(engine=nothing), SPEC)
        assert unknown is not None
        assert "the reference of its engine cannot be compared" in unknown.text
    for state in (QualityState.REFERENCE, QualityState.INHERITED, QualityState.COMPARED):
        assert quality_violation(QualityResult(state=state, engine=same), SPEC) is None


def test_tasks_decide_as_well() -> None:
    drop = Drop(value=0.1, low=0.04, high=0.16, losses=30, gains=10, chance=0.001)
    mean = Accuracy(value=0.5, stderr=0.04, items=200)
    worse = TaskResult(name="t", accuracy=mean, reference=mean.replaced(value=0.6), drop=drop)
    spec = QualitySpec(tasks=TasksSpec(names=("t",)))
    found = QualityResult(state=QualityState.COMPARED, tasks=(worse,))
    violation = quality_violation(found, spec)
    assert violation is not None
    assert violation.text == "t 50.0% (reference 60.0%)"
    assert violation.relative == pytest.approx(0.08)
    assert quality_violation(found, spec.replaced(tasks=TasksSpec(names=("t",), max_drop=0.05))) is None
    lucky = worse.replaced(drop=drop.replaced(chance=0.02))
    assert quality_violation(found.replaced(tasks=(lucky,)), spec) is None
    failed = quality_violation(found.replaced(tasks=(TaskResult(name="t", why="lm-eval exited with code 1"),)), spec)
    assert failed is not None
    assert failed.text == "not decided: t: lm-eval exited with code 1"
    missing = quality_violation(found.replaced(tasks=()), spec)
    assert missing is not None
    assert missing.value is None


def test_answers_to_other_prompts_are_not_compared() -> None:
    default = reference(*["abcd"] * 16)
    known = default.replaced(full=default.full.replaced(prompts="one set"))
    found = judge(known, said(*["abcd"] * 16).replaced(prompts="another"))
    assert found.state is QualityState.UNDECIDED
    assert found.prompts == "another"
    assert "one set" in found.why
    assert judge(known, said(*["abcd"] * 16)).state is QualityState.UNDECIDED
    same = judge(known, said(*["abcd"] * 16).replaced(prompts="one set"))
    assert same.state is QualityState.COMPARED


def test_a_control_with_too_few_answers_is_left_out() -> None:
    default = reference(*["abcd"] * 16)
    slow = said(*["abcd"] * 3, *[""] * 13)
    found = judge(default.replaced(controls=(slow, default.controls[1])), said(*["abcd"] * 16))
    assert found.state is QualityState.COMPARED
    assert undecidable(default.replaced(controls=(slow, default.controls[1]))) == ""
    assert "3 prompts" in undecidable(default.replaced(controls=(slow, slow)))


def test_a_missing_probability_does_not_end_the_comparison_of_others() -> None:
    one = {"a": math.log(0.9), "b": math.log(0.1)}
    two = {"a": math.log(0.5), "b": math.log(0.5)}
    default = reference(*["a"] * 20, top=one)
    other = said(*["a"] * 20, top=two)
    some = other.replaced(answers=((Token(text="a"),), *other.answers[1:]))
    found = judge(default, some)
    assert found.kl is not None
    assert quality_violation(found, SPEC) is not None
    many = other.replaced(answers=(*[(Token(text="a"),)] * 10, *other.answers[10:]))
    assert judge(default, many).state is QualityState.UNDECIDED


def test_texts_are_compared_where_a_server_lists_too_few_tokens() -> None:
    top = {"a": math.log(0.9), "b": math.log(0.1)}
    text = "one two three"
    default = reference(*["aaa"] * 16, top=top)
    full, *controls = (one.replaced(texts=(text,) * 16) for one in (default.full, *default.controls))
    known = Reference(full=full, controls=tuple(controls))
    first_token_only = said(*["a"] * 16, top=top).replaced(texts=(text,) * 16)
    found = judge(known, first_token_only)
    assert found.kl is None
    assert found.candidate is not None
    assert found.candidate.agreement == 1
    other = judge(known, first_token_only.replaced(texts=("one 2 three",) * 16))
    assert quality_violation(other, SPEC) is not None
    assert judge(default, first_token_only).state is QualityState.UNDECIDED  # its texts were not kept


def test_bounds_decide_by_the_lower_end() -> None:
    found = QualityResult(
        state=QualityState.COMPARED,
        disagreement=Excess(value=0.2, low=0.09),
        kl=Excess(value=0.3, low=0.06),
    )
    violation = quality_violation(found, SPEC)
    assert violation is not None
    assert (violation.value, violation.threshold) == (0.3, 0.05)
    assert violation.relative == pytest.approx(5)
    assert quality_violation(found, SPEC.replaced(kl=0.1)) is None
    verdict = with_quality(Verdict(feasible=True, total_violation=0.5), found, SPEC)
    assert verdict.total_violation == pytest.approx(5.5)
    assert verdict.violations[-1].slo == "quality"


def test_the_default_and_unchecked_trials_violate_nothing() -> None:
    assert quality_violation(QualityResult(state=QualityState.REFERENCE), SPEC) is None
    assert with_quality(Verdict(feasible=True), None, SPEC).feasible


def test_an_identical_server_is_rarely_worse_even_for_a_bound_of_zero() -> None:
    """Two one-sided tests at 0.5% each; counted over servers with as much noise as bfloat16 in batches."""
    default = ToyModel(noise=0.08)
    found = [compared(default, default, seed) for seed in range(40)]
    assert sum(f.disagreement is not None and f.disagreement.low > 0 for f in found) <= 2
    assert sum(f.kl is not None and f.kl.low > 0 for f in found) <= 2
    assert not any(quality_violation(f, SPEC) for f in found)


def test_a_broken_server_is_always_caught() -> None:
    default = ToyModel(noise=0.08)
    for seed in range(20):
        broken = compared(default, ToyModel(noise=0.08, error=2.0, server="broken"), seed)
        assert quality_violation(broken, SPEC) is not None
        assert "KL" in quality_text(broken)
