"""Analysis of a study beyond its winner: importance of parameters, failures, comparison with the default, caveats.

Pure functions of a :class:`StudyResult`. Each figure is simple enough to be checked by hand, and is marked when it is
based on too few trials.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean

from autotuner import scoring
from autotuner.report.headline import tied_others
from autotuner.report.result import StudyResult, objective_value
from autotuner.report.views.failed_launches import failed_launches
from autotuner.scoring import Effect
from autotuner.study.base import Value
from autotuner.study.failure import Blame
from autotuner.study.measurement import Measurement
from autotuner.study.metric import METRICS, Direction
from autotuner.study.owner import CUT_OFF, RUNNING
from autotuner.study.parameters.parameter import Parameter
from autotuner.study.search.importance import ParameterImportance
from autotuner.study.simulated import ALL
from autotuner.study.trial import Trial, TrialRole
from autotuner.tuning.ending import Ending
from autotuner.tuning.proof import records
from autotuner.tuning.proof.decision import LEAST_REPEATS, alpha
from autotuner.tuning.proof.noise import interference, interference_text, known_noise
from autotuner.tuning.trials.cpu_noise import DISTURBED, FOREIGN_CPU_CORES

FEW_TRIALS = 12
"""With fewer usable trials, a share of variance is mostly chance."""
MAX_GROUPS = 6
"""The values of a numeric parameter with more distinct ones are divided into this many groups of about equal size."""
FIGURES: tuple[tuple[str, str | None], ...] = (
    ("output_throughput", None),
    ("output_throughput_per_gpu", None),
    ("document_throughput", None),
    ("request_throughput", None),
    *((m, s) for m in ("ttft", "tpot", "e2e_latency") for s in ("p50", "p90", "p99")),
    ("energy_per_token", None),
    ("cost_per_million_output_tokens", None),
    ("cost_per_request", None),
    ("success_rate", None),
)
"""Metrics of the comparison, with their statistics."""


@dataclass(frozen=True)
class Importance:
    """How much of the variation of the objective one parameter explains."""

    parameter: str
    share: float | None
    """Share of the variance of the objective's logarithm, 0 to 1, adjusted for chance; None if it is unknown."""
    groups: int
    trials: int
    best: Value = None
    """The value with the best geometric mean of the objective; meaningless if ``share`` is None or small."""
    best_mean: float | None = None
    modeled: ParameterImportance | None = None
    """The shares by a model of all measured trials, feasible or not; None for studies that were stored without it."""


@dataclass(frozen=True)
class FailureGroup:
    """Failed trials with the same cause and message."""

    cause: str
    message: str
    remedy: str
    blame: Blame
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Figure:
    """One metric of the default and the candidate at one scenario and level; several values if they were repeated."""

    metric: str
    statistic: str | None
    default: tuple[float, ...]
    candidate: tuple[float, ...]
    noise: float = scoring.LAUNCH_NOISE
    """Minimum relative standard deviation of one value."""
    paired_alpha: float | None = None
    """If blocks are compared, the error probability of the interval."""
    pairs: tuple[tuple[float, float], ...] = ()
    """If blocks are compared, the values of default and candidate in those that measured both."""

    @property
    def change(self) -> float | None:
        """Relative change of the mean, with the sign of the metric; the same estimate as that of the gain. None if one
        side is missing or the default's mean is 0."""
        return scoring.change(self.default, self.candidate)

    @property
    def effect(self) -> str:
        """``better`` or ``worse`` if the interval of the change excludes zero, otherwise ``""``."""
        alpha = self.paired_alpha
        repeats = min(len(self.default), len(self.candidate)) if alpha is None else len(self.pairs)
        if repeats < LEAST_REPEATS or min(*self.default, *self.candidate) <= 0:
            return ""
        better = METRICS[self.metric].better
        if alpha is None:
            found = scoring.gain(self.default, self.candidate, better, noise=self.noise)
        else:
            found = scoring.paired_gain(self.pairs, better, alpha=alpha, confidence=1 - alpha, noise=self.noise)
        return found.effect.value if found.effect in {Effect.BETTER, Effect.WORSE} else ""


@dataclass(frozen=True)
class Comparison:
    """Default and candidate at one scenario and load level."""

    scenario: str
    level: str
    figures: tuple[Figure, ...]


def usable_trials(result: StudyResult) -> list[tuple[Trial, float]]:
    """Returns the feasible trials of the search with their objective, in order. Objectives are positive."""
    found = []
    for trial in result.trials:
        value = objective_value(trial)
        if trial.role is TrialRole.SEARCH and records.usable(trial) and value is not None and value > 0:
            found.append((trial, value))
    return found


def importance(result: StudyResult) -> tuple[Importance, ...]:
    """Returns the importance of every parameter, the most important first and those with an unknown share last.

    That of a conditional parameter follows from the trials in which it was active.
    """
    points = usable_trials(result)
    modeled = {i.parameter: i for i in result.importance}
    found = [replace(_importance(result, p, points), modeled=modeled.get(p.name)) for p in result.spec.parameters]
    return tuple(sorted(found, key=_share, reverse=True))


def _share(found: Importance) -> float:
    if found.modeled is not None:
        return found.modeled.objective.total
    return -1.0 if found.share is None else found.share


def failure_groups(trials: Sequence[Trial]) -> tuple[FailureGroup, ...]:
    """Groups failures by cause and message, most frequent first, including void trials, because they cost time too."""
    failed = [(t.failure, t) for t in trials if t.failure is not None]
    failed.sort(key=lambda pair: (pair[0].cause.value, pair[0].message, pair[1].number))
    groups = []
    for _, members in groupby(failed, key=lambda pair: (pair[0].cause, pair[0].message)):
        pairs = list(members)
        first = pairs[0][0]
        trials_of = tuple(t for _, t in pairs)
        groups.append(FailureGroup(first.cause.value, first.message, first.remedy, first.blame, trials_of))
    return tuple(sorted(groups, key=lambda g: (-len(g.trials), g.trials[0].number)))


def compared(result: StudyResult) -> Trial | None:
    """Returns the trial to compare with the default: the best, or the nearest if nothing is feasible."""
    other = result.best or result.nearest
    if other is None or (result.default is not None and other.number == result.default.number):
        return None
    return other


def comparison(result: StudyResult) -> tuple[Comparison, ...]:
    """Compares the default with :func:`compared` at every scenario and level, using their repeats if any."""
    other = compared(result)
    candidates = _runs(other, result)
    defaults = _runs(result.default, result)
    level = None
    if result.spec.confirm.adaptive and other is not None and result.default is not None:
        sides = records.paired_repeats(result.default, other, result.trials)
        if all(sides):
            defaults, candidates = sides
            level = alpha(result.trials, result.spec.objectives, result.spec.confirm)
    places = list(dict.fromkeys((m.scenario, m.level.text) for t in (*defaults, *candidates) for m in t.measurements))
    noise = known_noise(result.trials)
    found = []
    for place in places:
        default = [_at([t], place) for t in defaults]
        candidate = [_at([t], place) for t in candidates]
        figures = [_figure(m, s, default, candidate, noise, level) for m, s in FIGURES]
        found.append(Comparison(*place, tuple(f for f in figures if f.default or f.candidate)))
    return tuple(found)


def _figure(
    metric: str,
    statistic: str | None,
    defaults: Sequence[Sequence[Measurement]],
    candidates: Sequence[Sequence[Measurement]],
    noise: float,
    level: float | None,
) -> Figure:
    """One metric from the measurements of each launch; with ``level``, the n-th launches of both are of one block."""
    sides = [[_values(m, metric, statistic) for m in launches] for launches in (defaults, candidates)]
    default, candidate = (tuple(value for values in side for value in values) for side in sides)
    if level is None:
        return Figure(metric, statistic, default, candidate, noise)
    blocks = zip(*sides, strict=True)
    pairs = tuple((fmean(one), fmean(other)) for one, other in blocks if one and other)
    if pairs:  # a block that measured only one side would bias the change
        default, candidate = zip(*pairs, strict=True)
    return Figure(metric, statistic, default, candidate, noise, level, pairs)


def caveats(result: StudyResult) -> tuple[str, ...]:
    """Returns the reasons to doubt the result, the most serious first; one sentence each."""
    mixed = result.simulated
    warned = (f"{mixed}.",) if mixed and mixed != ALL else ()
    return (*warned, *_proof_caveats(result), *_measurement_caveats(result))


def _importance(result: StudyResult, parameter: Parameter, points: Sequence[tuple[Trial, float]]) -> Importance:
    name = parameter.name
    active = [(t.configuration.values, v) for t, v in points if not parameter.when or name in t.configuration.values]
    pairs = [(values.get(name), math.log(v)) for values, v in active]
    groups = value_groups([v for v, _ in pairs])
    members = [[y for i, (_, y) in enumerate(pairs) if groups[i] == g] for g in dict.fromkeys(groups)]
    sign = 1 if result.spec.objectives[0].direction is Direction.MAX else -1
    by_value: dict[tuple[str, Value], list[float]] = {}
    for value, y in pairs:
        by_value.setdefault((type(value).__name__, value), []).append(y)
    best = max(by_value.items(), key=lambda item: sign * fmean(item[1]), default=None)
    return Importance(
        parameter=name,
        share=explained(members),
        groups=len(members),
        trials=len(pairs),
        best=best[0][1] if best else None,
        best_mean=math.exp(fmean(best[1])) if best else None,
    )


def explained(groups: Sequence[Sequence[float]]) -> float | None:
    """Share of the variance that the group means explain, adjusted for the number of groups (epsilon squared).

    Without the adjustment, as many groups as values would explain everything.

    Returns:
        0 (no more than chance) to 1; None if the share is unknown, because there is only one group, no variance, or no
        group with two values.
    """
    values = [v for g in groups for v in g]
    degrees_of_freedom = len(values) - len(groups)
    if len(groups) < 2 or degrees_of_freedom < 1:
        return None
    total = _squares(values)
    if total <= 0:
        return None
    within = math.fsum(_squares(g) for g in groups)
    between = total - within
    return min(1.0, max(0.0, (between - (len(groups) - 1) * within / degrees_of_freedom) / total))


def value_groups(values: Sequence[Value]) -> list[object]:
    """Returns the group of each value: the value itself, or its quantile if there are many distinct numbers."""
    numbers = sorted({v for v in values if isinstance(v, int | float) and not isinstance(v, bool)})
    if len(numbers) <= MAX_GROUPS:
        return [(type(v).__name__, v) for v in values]
    ranked = sorted(v for v in values if isinstance(v, int | float) and not isinstance(v, bool))
    edges = [ranked[len(ranked) * i // MAX_GROUPS] for i in range(1, MAX_GROUPS)]
    return [
        sum(v >= e for e in edges) if isinstance(v, int | float) and not isinstance(v, bool) else (type(v).__name__, v)
        for v in values
    ]


def _squares(values: Sequence[float]) -> float:
    mean = fmean(values)
    return math.fsum((v - mean) ** 2 for v in values)


def _runs(trial: Trial | None, result: StudyResult) -> list[Trial]:
    if trial is None:
        return []
    return records.rankable_repeats(trial, result.trials) or [trial]


def _at(trials: Sequence[Trial], place: tuple[str, str]) -> list[Measurement]:
    return [m for t in trials for m in t.measurements if (m.scenario, m.level.text) == place]


def _values(measurements: Sequence[Measurement], metric: str, statistic: str | None) -> tuple[float, ...]:
    found = (m.value(metric, statistic) for m in measurements)
    return tuple(v for v in found if v is not None and math.isfinite(v))


def _proof_caveats(result: StudyResult) -> Iterator[str]:
    word = result.spec.reference_word
    if result.state in (RUNNING, CUT_OFF, "new"):
        yield "The study has not finished; everything here may still change."
    for trial in result.refuted_trials:
        failed = failed_launches(trial, result)
        yield f"Trial {trial.number} did not hold up: {failed}. It is excluded from the answer."
    if result.best is None:
        return
    if result.default is None:
        yield f"The {word} was not measured, so there is no gain to report."
    elif not records.launches(result.default, result.trials).held:
        failed = failed_launches(result.default, result)
        yield f"The {word} itself is unreliable: {failed}. The gain is still computed against it."
    if result.best.role is not TrialRole.DEFAULT and result.ending is not Ending.WINNER_DID_NOT_HOLD_UP:
        if result.repeats == 0:
            yield "The best was not measured again; picked as the best of many, its value is likely too good."
        elif result.repeats < 3:
            many = f"{result.repeats} repeat{'s' if result.repeats > 1 else ''}"
            yield f"Only {many} of trial {result.best.number} and the {word}: the interval rests on very little data."
    yield from _concurrency_caveats(result)
    others = tied_others(result)
    if others:
        yield f"The best and {trials_text(others)} differ by no more than the noise of a single measurement."


def _concurrency_caveats(result: StudyResult) -> Iterator[str]:
    default = result.default
    word = result.spec.reference_word
    concurrent = _numbers(t for t in result.trials if t.measurements and t.number in result.in_company)
    share = interference(result.trials, result.spec.objectives)
    if share is not None:
        text = interference_text(share)
        yield f"{text[:1].upper()}{text[1:]}."
    elif concurrent and default is not None and default.number not in concurrent:
        yield (
            f"{trials_text(concurrent).capitalize()} ran side by side while the {word} ran alone; only the repeats, "
            "which run one at a time, are comparable with it."
        )


def _measurement_caveats(result: StudyResult) -> Iterator[str]:
    measured = [(t, m) for t in result.trials for m in t.measurements]
    checks: tuple[tuple[str, list[int]], ...] = (
        (
            "the load generator could not keep up, so the server may be faster than shown (not ranked)",
            _numbers(t for t, m in measured if m.self_check.client_limited),
        ),
        (
            f"other processes used more than {FOREIGN_CPU_CORES:g} CPU cores during a window",
            _numbers(t for t, m in measured if (m.self_check.foreign_cpu_cores or 0) > FOREIGN_CPU_CORES),
        ),
        ("the load was not steady during a window", _numbers(t for t, m in measured if not m.steady)),
        (
            "the server reported no usage, so tokens were counted by a tokenizer",
            _numbers(t for t, m in measured if m.token_source == "tokenizer"),  # noqa: S105 - not a secret
        ),
        (
            "the server reported no usage, so chunks were counted as tokens: throughput and TPOT may be off",
            _numbers(t for t, m in measured if m.token_source == "chunks"),  # noqa: S105 - not a secret
        ),
        ("some requests failed", _numbers(t for t, m in measured if m.failed)),
    )
    for what, numbers in checks:
        if numbers:
            yield f"In {trials_text(numbers)} {what}."
    for text, numbers in _warnings(measured):
        yield f"In {trials_text(numbers)}: {text}."
    count = len(usable_trials(result))
    if 0 < count < FEW_TRIALS and result.spec.parameters:
        yield f"Importance is based on only {count} trial{'s' if count > 1 else ''}; treat it as a hint."


def _warnings(measured: Sequence[tuple[Trial, Measurement]]) -> list[tuple[str, list[int]]]:
    """Returns the warnings of measurements, at most five kinds. Disturbed windows have a caveat of their own."""
    found: dict[str, list[Trial]] = {}
    for trial, measurement in measured:
        for text in (w for w in measurement.warnings if not w.startswith(DISTURBED)):
            found.setdefault(text.rstrip("."), []).append(trial)
    return [(text, _numbers(trials)) for text, trials in list(found.items())[:5]]


def _numbers(trials: Iterator[Trial] | Sequence[Trial]) -> list[int]:
    return list(dict.fromkeys(t.number for t in trials))


def trials_text(numbers: Sequence[int]) -> str:
    """``trial 3``, ``trials 3, 4 and 7``, ``trials 1, 2, 3, 4, 5, 6 and 9 more``."""
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    shown = numbers if len(numbers) <= 7 else numbers[:6]
    last = f"{shown[-1]}" if len(shown) == len(numbers) else f"{len(numbers) - len(shown)} more"
    before = shown[:-1] if len(shown) == len(numbers) else shown
    return f"trials {', '.join(map(str, before))} and {last}"
