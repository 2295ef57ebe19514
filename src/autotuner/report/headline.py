"""The ending of a study in sentences: one headline per ending, then qualifications."""

from collections.abc import Callable, Mapping

from autotuner.plain_text import marked_line
from autotuner.report.numbers import metric_name, percent, unsure_text, with_unit
from autotuner.report.racing import racing_text
from autotuner.report.result import StudyResult
from autotuner.report.study_cost import cost_text
from autotuner.report.views.failed_launches import distance, failed_launches
from autotuner.report.views.pareto_front import front_text
from autotuner.scoring import Effect, Gain
from autotuner.study.metric import METRICS, Direction, Unit
from autotuner.study.objective import Objective
from autotuner.study.parameters.engines import ENGINE
from autotuner.study.parameters.reference import reference_word
from autotuner.study.search.stopping import GainBound
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Violation
from autotuner.study.workload import CapacityLoad
from autotuner.tuning.ending import Ending
from autotuner.tuning.proof import records
from autotuner.tuning.proof.decision import LEAST_REPEATS

_SHOWN = 8
_USEFUL_RATIO = 2.0
_TOO_LITTLE = "Too little is known to say how much better untried configurations could be"


def headline(result: StudyResult) -> str:
    """Returns the answer in one line. It counts the launches of its trial that crashed or missed the SLOs."""
    return _HEADLINES[result.ending](result)


def summary_lines(result: StudyResult) -> list[str]:
    """Returns the headline, then challengers that did not hold up, the Pareto front, trials within noise, and costs."""
    lines = [headline(result)]
    named = result.ending in {Ending.WINNER_DID_NOT_HOLD_UP, Ending.NOTHING_FEASIBLE}
    others = result.refuted_trials[1 if named else 0 :]
    lines += [f"{_named(trial)} did not hold up: {failed_launches(trial, result)}." for trial in others]
    if result.front and result.winner is not None:
        lines.append(front_text(result))
    if result.best is not None and result.best.verdict is not None:
        lines += [f"{unsure_text(what)}." for what in result.best.verdict.unsure]
    tied = tied_others(result)
    if tied:
        many = ", ".join(map(str, tied[:_SHOWN])) + (" and more" if len(tied) > _SHOWN else "")
        trials = f"trial{'s' if len(tied) > 1 else ''} {many}"
        lines.append(f"Within noise ({percent(result.noise, sign=False)}) of the best: {trials}.")
    if result.bound is not None and result.state == "done":
        lines.append(bound_text(result.bound, result))
    lines += [line for line in (racing_text(result), cost_text(result)) if line]
    return lines


def bound_text(bound: GainBound, result: StudyResult) -> str:
    """Returns how much better than the best trial any configuration can be, in sentences.

    A bound of more than twice the best trial says nothing useful. The model's best trial need not be the answer.
    """
    downward = result.spec.objectives[0].direction is Direction.MIN
    if bound.gain > (1 - 1 / _USEFUL_RATIO if downward else _USEFUL_RATIO - 1):
        return f"{_TOO_LITTLE}; more trials of the search would tell."
    text = f"{bound.text[0].upper()}{bound.text[1:]}."
    if result.winner is None or result.winner.number == bound.trial:
        return text
    answer = f"the answer, trial {result.winner.number}, rests on what was measured"
    if result.keeps_default:
        answer = f"the {_word(result)}, trial {result.winner.number}, is kept because nothing was proven to be better"
    return f"{text} Trial {bound.trial} is the best one by the search's model; {answer}."


def tied_others(result: StudyResult) -> list[int]:
    """Returns the trials of the search within the noise of the winner; none if the answer is to keep the default."""
    if result.winner is None or result.keeps_default:
        return []
    default = result.default.number if result.default else None
    return [n for n in result.tied if n not in {result.winner.number, default}]


def gains_text(result: StudyResult) -> tuple[str, str]:
    """Returns the change of every objective relative to the default, and the intervals with the number of repeats.

    Changes have the sign of the metric. With several objectives, each says whether it is better, and gains come first.
    """
    several = len(result.spec.objectives) > 1
    pairs = zip(result.spec.objectives, result.gains, strict=False)
    known = [(o, g) for o, g in pairs if g and g.repeats >= LEAST_REPEATS]
    changes = []
    intervals = []
    for objective, gain in sorted(known, key=lambda pair: pair[1].relative, reverse=True):
        change, low, high = signed(objective, gain)
        shown = amount_text(objective, gain, change)
        changes.append(f"{shown} {objective_text(objective)}" + (f" ({effect(gain)})" if several else ""))
        intervals.append(interval_text(objective, gain, low, high))
    if _missed_soft(result):
        changes[-1] += ", including penalties for missed soft SLOs"
    confirm = result.spec.confirm
    level = f"{confirm.confidence * 100:g}% interval{'s' if len(intervals) > 1 else ''}"
    if len(set(intervals)) == 1:  # still unbounded in every objective
        del intervals[1:]
    unit = "blocks" if confirm.adaptive else "repeats"
    return ", ".join(changes), f"{level} {'; '.join(intervals)}, {result.repeats} interleaved {unit}"


def amount_text(objective: Objective, gain: Gain, amount: float) -> str:
    """A change with its sign: ``+12%``. A difference is in points for a share (``+1.5 points``), and otherwise in the
    metric's unit (``-3 tokens/s``)."""
    if not gain.absolute:
        return percent(amount)
    if METRICS[objective.metric].unit is Unit.RATIO:
        return f"{amount * 100:+.2g} points"
    return f"{'-' if amount < 0 else '+'}{with_unit(objective.metric, abs(amount))}"


def interval_text(objective: Objective, gain: Gain, low: float, high: float) -> str:
    """``+9% to +15%``."""
    if not gain.bounded:
        return "still unbounded"
    return f"{amount_text(objective, gain, low)} to {amount_text(objective, gain, high)}"


def answer_word(result: StudyResult) -> str:
    """Returns the label of the recommended trial in tables; ``winner`` only if the ending says so."""
    if result.ending.proven or result.ending is Ending.NO_DEFAULT:
        return "winner"
    return "keep" if result.keeps_default and result.state == "done" else "best so far"


def _missed_soft(result: StudyResult) -> bool:
    """Whether a missed soft SLO makes the gain differ from the change of the metric itself."""
    compared = [t for t in (result.best, result.default) if t is not None]
    repeats = [r for t in compared for r in records.rankable_repeats(t, result.trials)]
    return any(r.verdict is not None and r.verdict.penalty > 0 for r in repeats)


def effect(gain: Gain) -> str:
    """Returns what the interval of a gain shows, as text."""
    return {Effect.BETTER: "better", Effect.WORSE: "worse", Effect.AS_GOOD: "equivalent"}.get(
        gain.effect, "no significant difference"
    )


def signed(objective: Objective, gain: Gain) -> tuple[float, float, float]:
    """Returns change, low and high with the sign of the metric: a gain of 10% in latency is -0.1."""
    if objective.direction is Direction.MIN:
        return -gain.relative, -gain.high, -gain.low
    return gain.relative, gain.low, gain.high


def objective_text(objective: Objective) -> str:
    """``p99 TTFT``, ``output throughput``."""
    return metric_name(objective.metric, objective.statistic)


def _proven(result: StudyResult) -> str:
    change, interval = gains_text(result)
    trade_off = "trade-off: " if result.ending is Ending.TRADE_OFF else ""
    return f"best: {_winner(result)}: {trade_off}{change} vs {_word(result)} ({interval})"


def _default_infeasible(result: StudyResult) -> str:
    default = failed_launches(result.default, result) if result.default else ""
    change, interval = gains_text(result) if result.repeats >= LEAST_REPEATS else ("", "")
    gained = f"; {change} vs {_word(result)} ({interval})" if change else ""
    return f"best: {_winner(result)}: {_met(result)}; {_word(result)}: {default}{gained}"


def _no_default(result: StudyResult) -> str:
    why = f"the {_word(result)} could not run, so there is nothing to compare with"
    if result.default is None:
        why = f"the {_word(result)} was not measured, so there is nothing to compare with"
    return f"best: {_winner(result)}: {_value(result, result.winner)}; {_met(result)}; {why}"


def _as_good(result: StudyResult) -> str:
    change, interval = gains_text(result)
    margin = f"equivalent within ±{result.spec.confirm.zone * 100:g}%, no better and no worse"
    return f"keep the {_word(result)}: {_challenger(result)}, is {margin}: {change} ({interval})"


def _default_better(result: StudyResult) -> str:
    change, interval = gains_text(result)
    return f"keep the {_word(result)}: {_challenger(result)}, is worse: {change} ({interval})"


def _no_difference(result: StudyResult) -> str:
    change, interval = gains_text(result)
    return f"{_undecided(result)}; keep the {_word(result)}: {_challenger(result)}: {change} ({interval})"


def _undecided(result: StudyResult) -> str:
    confirm = result.spec.confirm
    if not confirm.adaptive:
        return "no significant difference"
    default, best = (
        records.blocks_of(t, result.trials).keys() if t else set[int]() for t in (result.default, result.best)
    )
    launched = len(default & best)
    counting = f", {result.repeats} of which measured both well enough" if result.repeats < launched else ""
    if launched >= confirm.at_most:
        return f"not decided within {confirm.at_most} blocks{counting}"
    if default - best:  # it joined the proof later, whose launches may have been used up
        return f"not decided after {launched} blocks{counting}"
    unlikely = f"{confirm.at_most} are unlikely to decide it at this noise"
    return f"not decided after {launched} blocks{counting}, and {unlikely}"


def _default_only(result: StudyResult) -> str:
    tried = [t for t in result.trials if t.role is TrialRole.SEARCH and t.state.finished]
    failed = sum(t.state is TrialState.FAILED for t in tried)
    missed = sum(records.misses(t) for t in tried)
    worse = sum(bool(t.verdict and t.verdict.quality_fault) for t in tried)
    cut = sum(t.verdict is not None and t.verdict.feasible and t.verdict.cut for t in tried)
    capacity = any(isinstance(level, CapacityLoad) for level in result.spec.workload.levels)
    parts = {
        "failed": failed,
        "missed the SLOs": missed - worse,
        "did not pass the quality check": worse,
        "could not hold its load" if capacity else "cut": cut,
        "could not be ranked": len(tried) - failed - missed - cut,
    }
    how = ", ".join(f"{count} {what}" for what, count in parts.items() if count)
    why = "none of the others is better" if cut else "no other configuration is usable"
    return f"keep the {_word(result)}: {why} (tried {len(tried)}: {how})"


def _nothing_to_tune(result: StudyResult) -> str:
    return f"nothing to tune; the {_word(result)}: {_value(result, result.default)}"


def _nothing_tried(result: StudyResult) -> str:
    why = f": {marked_line(result.why)}" if result.why else ""
    return f"no configuration other than the {_word(result)} was tried{why}"


def _not_proven(result: StudyResult) -> str:
    why = f"not proven: confirm.repeats is {_required_repeats(result)}"
    return f"best: {_winner(result)}: {_value(result, result.winner)}; {why}"


def _not_decided(result: StudyResult) -> str:
    best = result.best
    default = result.default
    if best is None or best is default:
        tried = [t for t in result.trials if t.role is TrialRole.SEARCH and t.state is TrialState.DONE and t.verdict]
        unranked = [
            t for t in tried if not records.misses(t) and t.verdict and not (t.verdict.rankable or t.verdict.cut)
        ]
        why = next((f" ({marked_line(r)})" for t in unranked if t.verdict for r in t.verdict.reasons), "")
        others = f"{len(unranked)} other{'s' if len(unranked) != 1 else ''}"
        return f"not decided; keep the {_word(result)}: {others} could not be ranked{why}"
    counts = []
    for trial in (best, default):
        if trial is not None:
            usable = len(records.values(trial, result.trials, result.spec.objectives[0]))
            name = f"the {_word(result)}" if trial.role is TrialRole.DEFAULT else f"trial {trial.number}"
            why = f", which failed: {marked_line(trial.failure.message)}" if trial.failure else ""
            counts.append(f"{usable} of {_required_repeats(result)} for {name}{why}")
    how = ", ".join(counts)
    return f"best: {_winner(result)}: {_value(result, result.winner)}; not decided: usable repeats: {how}"


def _did_not_hold_up(result: StudyResult) -> str:
    first = result.refuted_trials[0]
    text = f"keep the {_word(result)}: {_named(first)} did not hold up: {failed_launches(first, result)}"
    if result.best is not None and result.best.number not in result.refuted and result.repeats >= LEAST_REPEATS:
        change, interval = gains_text(result)
        text += f"; the next best, {_named(result.best)}, is not proven better: {change} ({interval})"
    return text


def _nothing_feasible(result: StudyResult) -> str:
    nearest = result.nearest
    if nearest is None or nearest.verdict is None:
        return "no configuration met the SLOs"
    missed = [v for v in nearest.verdict.violations if v.hard]
    how = "; ".join(map(_missed, missed[:3]))
    if nearest.verdict.feasible:
        how = f"met the SLOs once, but {failed_launches(nearest, result)}"
        return f"no configuration met the SLOs in all of its launches; closest: {_named(nearest)}: {how}"
    return f"no configuration met the SLOs; closest: {_named(nearest)}: {how or 'not measured at every level'}"


def _missed(found: Violation) -> str:
    if found.text:
        return f"{found.slo}: {found.text}"
    return f"{found.slo}{'' if found.value is None else ' missed'}{distance(found)} at {found.where}"


def _nothing_measured(result: StudyResult) -> str:
    nearest = result.nearest
    if nearest is not None and nearest.verdict is not None and nearest.verdict.reasons:
        return (
            "no measurement was good enough to be ranked; closest: "
            f"{_named(nearest)}: {marked_line(nearest.verdict.reasons[0])}"
        )
    return "no configuration could be measured"


def _unfinished(result: StudyResult) -> str:
    state = {
        Ending.NOT_COMPARED_YET: "not compared yet",
        Ending.STOPPED: "stopped early",
        Ending.INTERRUPTED: "interrupted",
        Ending.ENVIRONMENT_FAULT: "ended by an environment fault",
        Ending.FAILED: "run failed",
    }[result.ending]
    measured = [t for t in result.trials if t.state.finished and t.measurements]
    if result.winner is None:
        if not measured:
            return f"{state}: nothing measured yet"
        found = f"{state}: no configuration met the SLOs so far"
        first = next(iter(result.refuted_trials), None)
        return f"{found}; {_named(first)} did not hold up: {failed_launches(first, result)}" if first else found
    return f"{state}; best so far: {_winner(result)}: {_value(result, result.winner)}; not proven"


_HEADLINES: Mapping[Ending, Callable[[StudyResult], str]] = {
    Ending.PROVEN_BETTER: _proven,
    Ending.TRADE_OFF: _proven,
    Ending.DEFAULT_INFEASIBLE: _default_infeasible,
    Ending.NO_DEFAULT: _no_default,
    Ending.SHOWN_AS_GOOD: _as_good,
    Ending.DEFAULT_BETTER: _default_better,
    Ending.NO_SIGNIFICANT_DIFFERENCE: _no_difference,
    Ending.DEFAULT_ONLY: _default_only,
    Ending.NOTHING_TO_TUNE: _nothing_to_tune,
    Ending.NOT_PROVEN: _not_proven,
    Ending.NOTHING_TRIED: _nothing_tried,
    Ending.NOT_DECIDED: _not_decided,
    Ending.WINNER_DID_NOT_HOLD_UP: _did_not_hold_up,
    Ending.NOTHING_FEASIBLE: _nothing_feasible,
    Ending.NOTHING_MEASURED: _nothing_measured,
    Ending.NOT_COMPARED_YET: _unfinished,
    Ending.STOPPED: _unfinished,
    Ending.INTERRUPTED: _unfinished,
    Ending.ENVIRONMENT_FAULT: _unfinished,
    Ending.FAILED: _unfinished,
}


def _word(result: StudyResult) -> str:
    return result.spec.reference_word


def _reference_name(trial: Trial) -> str:
    """``the default``, or ``the baseline of vllm`` if there are several engines."""
    word = reference_word(trial.configuration.values)
    engine = trial.configuration.values.get(ENGINE)
    return f"the {word} of {engine}" if engine is not None else f"the {word}"


def _named(trial: Trial) -> str:
    if trial.role is TrialRole.DEFAULT or trial.engine_default:
        number = f" (trial {trial.number})" if trial.engine_default else ""
        return f"{_reference_name(trial)}{number}"
    return f"trial {trial.number} ({marked_line(trial.configuration.text)})"


def _winner(result: StudyResult) -> str:
    trial = result.winner
    if trial is None:
        return "none"
    if trial.role is TrialRole.DEFAULT or trial.engine_default:
        return _named(trial)
    return f"trial {trial.number}, {marked_line(trial.configuration.text)}"


def _challenger(result: StudyResult) -> str:
    tried = sum(t.role is TrialRole.SEARCH and t.state.finished for t in result.trials)
    name = _named(result.best) if result.best else "none"
    return f"{name}, the best of {tried} others" if tried > 1 else f"{name}, the only other configuration"


def _value(result: StudyResult, trial: Trial | None) -> str:
    """The first objective: the mean of the repeats if any, otherwise the single measurement."""
    if trial is None:
        return "-"
    objective = result.spec.objectives[0]
    value = records.estimate(trial, result.trials)
    return f"{with_unit(objective.metric, value)} {objective_text(objective)}"


def _required_repeats(result: StudyResult) -> int:
    return result.spec.confirm.blocks


def _met(result: StudyResult) -> str:
    """In how many launches the winner met the SLOs; a doubtful miss says nothing."""
    launched = [result.winner, *records.repeats_of(result.winner, result.trials)] if result.winner else []
    doubtful = sum(bool(t.verdict and t.verdict.doubtful) for t in launched)
    if not doubtful:
        return f"met the SLOs in all {len(launched)} launches"
    others = "the other" if doubtful == 1 else "the others"
    met = f"met the SLOs in {len(launched) - doubtful} of {len(launched)} launches"
    return f"{met} (the load generator could not keep up in {others})"
