"""Agreement of two servers' answers, beyond what one server's answers differ among themselves.

A server's arithmetic depends on which requests share a batch, so even identical servers do not agree on every token. A
candidate is therefore judged by its distance from the default's answers minus that of a control: the default itself,
asked in another batch composition. Answers are compared token by token up to and including the first different token;
up to there both servers continue the same text.

Both measures are ratios over the compared tokens: the share of different tokens (the hazard of leaving the default's
answer), and the KL divergence. The difference to the control is paired by prompt. Its lower bound is that of the
jackknife with Student's t at 99.5%, so that an identical server exceeds one of the two bounds in at most 1% of cases,
even for a bound of zero. Where tasks are evaluated as well, all tests share these 1%.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from autotuner.scoring.accuracy import worse
from autotuner.scoring.gain import student_t
from autotuner.study.quality.answers import Answers, Reference, Token
from autotuner.study.quality.result import Distance, EngineComparison, Excess, QualityResult, QualityState, TaskResult
from autotuner.study.quality.spec import FALSE_REJECTIONS, QualitySpec, TasksSpec
from autotuner.study.verdict import QUALITY, Verdict, Violation

LEAST_PROMPTS = 16
"""Fewest prompts that both servers answered."""
LEVEL = FALSE_REJECTIONS / 2
"""One-sided error probability of each of the two measures if nothing else is tested."""
_FLOOR = 1e-9
"""Smallest probability of all tokens together that a server does not list."""


@dataclass(frozen=True)
class _Pair:
    """One answer compared with the default's."""

    tokens: int
    different: bool
    kl: float | None
    logprob: float | None


def judge(reference: Reference, candidate: Answers, level: float = LEVEL) -> QualityResult:
    """Compares a candidate's answers with the default's.

    Args:
        reference: The default's answers.
        candidate: The candidate's.
        level: One-sided error probability of each of the two measures.

    Returns:
        Without the number of the default's trial. ``undecided`` if fewer than :data:`LEAST_PROMPTS` prompts were
        answered by both, or if they were asked other prompts.
    """
    full = reference.full
    # A slow server may not have answered one prompt at a time within the limit.
    used = [control for control in reference.controls if control.answered >= LEAST_PROMPTS]
    found = QualityResult(
        state=QualityState.UNDECIDED,
        method=candidate.method,
        prompts=candidate.prompts,
        confidence=1 - level,
        seconds=candidate.seconds,
        once_s=candidate.seconds,
    )
    if candidate.prompts != full.prompts:
        return found.replaced(why=f"the reference was asked other prompts ({full.prompts or 'unknown'})")
    if not used:
        return found.replaced(why=_too_few(0, reference, candidate))
    if not candidate.complete or (full.probable and not candidate.probable):
        full, candidate, *used = [answers.in_words() for answers in (full, candidate, *used)]
    arms = [_pairs(full, answers) for answers in (candidate, *used)]
    compared = [list(pairs) for pairs in zip(*arms, strict=True) if None not in pairs]
    if len(compared) < LEAST_PROMPTS:
        return found.replaced(why=_too_few(len(compared), reference, candidate))
    theirs, *controls = _by_arm(compared)
    worst = max(controls, key=_hazard)
    disagreement = _excess(theirs, worst, lambda p: float(p.different), level)
    kl = None
    if full.probable and candidate.probable:
        # Broken arithmetic may leave out probabilities, so it must not decide that they are not compared.
        known = [pairs for pairs in compared if all(pair is not None and pair.kl is not None for pair in pairs)]
        if len(known) < LEAST_PROMPTS:
            return found.replaced(why=f"log-probabilities of only {len(known)} prompts are complete")
        mine, *theirs_again = _by_arm(known)
        kl = _excess(mine, max(theirs_again, key=_divergence), lambda p: p.kl or 0.0, level)
    return found.replaced(
        state=QualityState.COMPARED,
        candidate=_distance(theirs),
        control=_distance(worst),
        disagreement=disagreement,
        kl=kl,
    )


def compare_engines(baseline: Reference, own: Reference, level: float) -> EngineComparison:
    """Compares the answers of another engine's default with the baseline's, word by word.

    Args:
        baseline: The baseline's answers.
        own: Those of the other engine's default.
        level: One-sided error probability.
    """
    full, *controls = (answers.in_bare_words() for answers in (baseline.full, *baseline.controls))
    found = judge(Reference(full=full, controls=tuple(controls)), own.full.in_bare_words(), level)
    return EngineComparison(
        candidate=found.candidate, control=found.control, disagreement=found.disagreement, why=found.why
    )


def undecidable(reference: Reference) -> str:
    """Why nothing can be compared with these answers; empty if that is possible."""
    full = reference.full
    if not full.method:
        return full.problem
    if full.answered < LEAST_PROMPTS or all(one.answered < LEAST_PROMPTS for one in reference.controls):
        return _too_few(min(full.answered, *(one.answered for one in reference.controls)), reference, full)
    return ""


def _by_arm(compared: Sequence[Sequence[_Pair | None]]) -> list[list[_Pair]]:
    return [[pair for pair in arm if pair is not None] for arm in zip(*compared, strict=True)]


def quality_violation(result: QualityResult, spec: QualitySpec) -> Violation | None:
    """The violation of the quality bounds; None if they are met. What is not known does not meet them."""
    if (found := _engine_violation(result, spec)) is not None:
        return found
    if result.state is QualityState.REFERENCE:
        return _task_violation(result, spec.tasks, spec) if spec.tasks is not None and result.engine else None
    if result.state is QualityState.INHERITED:
        return _task_violation(result, spec.tasks, spec) if spec.tasks is not None else None
    if result.state is QualityState.UNDECIDED:
        return _undecided(result.why, spec)
    bounds = ((result.kl, spec.kl), (result.disagreement, spec.disagreement))
    over = [(e.value / bound - 1, e, bound) for e, bound in bounds if e is not None and e.low > bound]
    if over:
        relative, excess, bound = max(over, key=lambda found: found[0])
        return _violation(quality_text(result), excess.value, bound, relative)
    return _task_violation(result, spec.tasks, spec) if spec.tasks is not None else None


def _engine_violation(result: QualityResult, spec: QualitySpec) -> Violation | None:
    """The violation of the limit on disagreement by the reference of the trial's engine, or what is not known of it."""
    found = result.engine
    if found is None:
        return None
    if found.disagreement is None:
        return _undecided(f"the reference of its engine cannot be compared with the study's: {found.why}", spec)
    excess = found.disagreement
    bound = spec.disagreement
    if excess.low <= bound:
        return None
    return _violation(found.text, excess.value, bound, excess.value / bound - 1)


def _task_violation(result: QualityResult, tasks: TasksSpec, spec: QualitySpec) -> Violation | None:
    """The violation of the limit on accuracy in the task with the largest drop, or what is not known."""
    level = 1 - result.confidence
    over = [(t.drop.value, t) for t in result.tasks if t.drop is not None and worse(t, tasks.max_drop, level)]
    if over:
        drop, task = max(over, key=lambda found: found[0])
        return _violation(task_text(task), drop, tasks.max_drop, drop - tasks.max_drop)
    known = {task.name: task for task in result.tasks}
    for name in tasks.names:
        task = known.get(name, TaskResult(name=name, why="it was not evaluated"))
        if task.drop is None:
            return _undecided(f"{name}: {task.why}", spec)
    return None


def with_quality(verdict: Verdict, quality: QualityResult | None, spec: QualitySpec | None) -> Verdict:
    """The verdict with the violation of the quality bounds, if there is one."""
    violation = quality_violation(quality, spec) if quality is not None and spec is not None else None
    if violation is None:
        return verdict
    return verdict.replaced(
        feasible=False,
        violations=(*verdict.violations, violation),
        total_violation=verdict.total_violation + violation.relative,
    )


def quality_text(result: QualityResult) -> str:
    """``agrees on 73% of tokens (control 100%), KL 0.0087 (control 0)``."""
    if result.candidate is None or result.control is None:
        return result.why
    text = f"agrees on {result.candidate.agreement:.1%} of tokens (control {result.control.agreement:.1%})"
    if result.candidate.kl is not None and result.control.kl is not None:
        text += f", KL {result.candidate.kl:.3g} nats (control {result.control.kl:.2g})"
    return text


def task_text(task: TaskResult) -> str:
    """``gsm8k 41.0% (reference 63.5%)``."""
    if task.accuracy is None:
        return f"{task.name}: {task.why}"
    against = f" (reference {task.reference.value:.1%})" if task.reference is not None else ""
    return f"{task.name} {task.accuracy.value:.1%}{against}"


def _undecided(why: str, spec: QualitySpec) -> Violation:
    return _violation(f"not decided: {why}", None, spec.disagreement, 1.0)


def _violation(text: str, value: float | None, threshold: float, relative: float) -> Violation:
    return Violation(slo=QUALITY, where="", value=value, threshold=threshold, relative=relative, text=text)


def _too_few(common: int, reference: Reference, candidate: Answers) -> str:
    asked = [*reference.controls, reference.full, candidate]
    problem = next((a.problem for a in reversed(asked) if a.problem), "")
    late = "; the time limit ended it" if any(a.late for a in asked) else ""
    return f"only {common} prompts were answered by both servers{late}{f': {problem}' if problem else ''}"


def _pairs(reference: Answers, other: Answers) -> list[_Pair | None]:
    count = len(reference.answers)
    answers = (*other.answers, *[None] * count)[:count]
    return [_pair(one, two) if one and two else None for one, two in zip(reference.answers, answers, strict=True)]


def _pair(reference: Sequence[Token], other: Sequence[Token]) -> _Pair:
    divergences: list[float | None] = []
    changes: list[float | None] = []
    different = False
    for one, two in zip(reference, other, strict=False):
        divergences.append(_kl(one, two))
        changes.append(_change(one, two))
        if one.text != two.text:
            different = True
            break
    if not different and len(reference) != len(other):  # one of them ended its answer here
        different = True
    known = [d for d in divergences if d is not None]
    moved = [c for c in changes if c is not None]
    return _Pair(
        tokens=len(divergences),
        different=different,
        kl=math.fsum(known) if len(known) == len(divergences) else None,
        logprob=math.fsum(moved) if len(moved) == len(changes) else None,
    )


def _kl(one: Token, two: Token) -> float | None:
    """A lower bound of the KL divergence between the two distributions of the next token.

    Tokens that only the reference lists have at most the smallest probability that the other one lists.
    """
    if not one.top or not two.top:
        return None
    least = min(two.top.values())
    total = math.fsum(math.exp(p) * (p - two.top.get(token, least)) for token, p in one.top.items())
    rest = 1 - math.fsum(math.exp(p) for p in one.top.values())
    others = 1 - math.fsum(math.exp(q) for token, q in two.top.items() if token in one.top)
    if rest > _FLOOR:
        total += rest * math.log(rest / max(others, _FLOOR))
    return max(0.0, total)


def _change(one: Token, two: Token) -> float | None:
    if one.text not in one.top or not two.top:
        return None
    return two.top.get(one.text, min(two.top.values())) - one.top[one.text]


def _hazard(pairs: Sequence[_Pair]) -> float:
    return _ratio(pairs, lambda p: float(p.different))


def _divergence(pairs: Sequence[_Pair]) -> float:
    return _ratio(pairs, lambda p: p.kl or 0.0)


def _ratio(pairs: Sequence[_Pair], amount: Callable[[_Pair], float]) -> float:
    return math.fsum(map(amount, pairs)) / max(1, sum(p.tokens for p in pairs))


def _excess(own: Sequence[_Pair], control: Sequence[_Pair], amount: Callable[[_Pair], float], level: float) -> Excess:
    """The difference of the ratios, with the lower bound of the jackknife over prompts."""
    sums = [(math.fsum(map(amount, arm)), max(1, sum(p.tokens for p in arm))) for arm in (own, control)]
    (top, tokens), (base, others) = sums
    value = top / tokens - base / others
    count = len(own)
    left_out = [
        (top - amount(one)) / max(1, tokens - one.tokens) - (base - amount(two)) / max(1, others - two.tokens)
        for one, two in zip(own, control, strict=True)
    ]
    center = fmean(left_out)
    spread = math.sqrt(math.fsum((x - center) ** 2 for x in left_out) * (count - 1) / count)
    return Excess(value=value, low=value - student_t(1 - level, count - 1) * spread)


def _distance(pairs: Sequence[_Pair]) -> Distance:
    moved = [p.logprob for p in pairs if p.logprob is not None]
    tokens = sum(p.tokens for p in pairs)
    return Distance(
        prompts=len(pairs),
        tokens=tokens,
        identical=fmean(float(not p.different) for p in pairs),
        agreement=1 - _hazard(pairs),
        kl=_divergence(pairs) if all(p.kl is not None for p in pairs) else None,
        logprob=math.fsum(moved) / tokens if tokens and len(moved) == len(pairs) else None,
    )
