"""The answer as plain text: first the sentence that matters, then the command, then what to type next."""

from collections.abc import Sequence
from pathlib import Path

from autotuner import scoring
from autotuner.report.exports import command_line
from autotuner.report.numbers import one_line, percent, with_unit
from autotuner.report.result import StudyResult, objective_value, repeat_values
from autotuner.scoring import Gain
from autotuner.study.metric import Direction
from autotuner.study.objective import Objective, metric_text
from autotuner.study.trial import Trial, TrialRole, TrialState


def summary_text(result: StudyResult) -> str:
    """The answer in a sentence or two; honest about what is not proven."""
    if result.winner is None:
        return _nothing_feasible(result)
    lines = [_headline(result, result.spec.objectives[0])]
    if result.front:
        numbers = ", ".join(map(str, sorted(result.front)))
        lines.append(f"Several objectives: trials {numbers} are on the Pareto front; the winner is the balanced one.")
    others = [n for n in result.tied if result.best is None or n != result.best.number]
    if others and not result.as_good:
        many = ", ".join(map(str, others[:8])) + (" and more" if len(others) > 8 else "")
        lines.append(f"Within the noise ({percent(result.noise, sign=False)}) of the best: trials {many}.")
    return "\n".join(lines)


def marked_summary(result: StudyResult) -> str:
    """The answer, and before it the word that numbers are simulated."""
    warning = result.simulated
    return f"{warning}.\n{summary_text(result)}" if warning else summary_text(result)


def result_text(result: StudyResult, *, report: Path | None = None, program: str = "autotuner") -> str:
    """What ``run`` ends with; ``program`` is how the reader can type the command."""
    name = result.spec.name
    lines = ["", marked_summary(result)]
    if result.winner is not None and result.command:
        what = "the default" if result.as_good else "it"
        lines += ["", f"start {what} with (add --host and --port for the address):", f"  {command_line(result)}"]
    lines += failures_text(result.trials)
    if result.state != "done":
        lines += ["", f"The study is {result.state}: {result.why}" if result.why else f"The study is {result.state}."]
    next_steps = [f"report: {report}   (open it in a browser)"] if report else []
    next_steps.append(f"next:   {program} show {name}  ·  {program} best {name}  ·  {program} export {name} --as csv")
    return "\n".join([*lines, "", *next_steps])


def failures_text(trials: Sequence[Trial]) -> list[str]:
    """Failed configurations by cause, with the remedy."""
    failed = [t for t in trials if t.state is TrialState.FAILED and t.failure]
    if not failed:
        return []
    lines = ["", "failed configurations:"]
    for trial in failed:
        failure = trial.failure
        if failure is not None:
            cure = f"; {failure.remedy}" if failure.remedy else ""
            what = one_line(trial.configuration.text)
            lines.append(f"  trial {trial.number}, {what}: {one_line(failure.message)}{cure}")
    return lines


def _headline(result: StudyResult, objective: Objective) -> str:
    best, gain = result.best, result.gain
    if best is None or result.winner is None:
        return ""
    what = one_line(best.configuration.text)
    if best.role is TrialRole.DEFAULT:
        tried = sum(t.role is TrialRole.SEARCH and t.state.finished for t in result.trials)
        return f"the default is as good: none of {tried} other configurations was better"
    if gain is None or gain.repeats < 2:
        value = with_unit(objective.metric, objective_value(best))
        return f"best: trial {best.number}, {what}: {value} {_metric(objective)}; {_unproven(result)}"
    change, interval = gains_text(result)
    if result.as_good:
        return f"the default is as good: trial {best.number} ({what}) gives {change} ({interval})"
    if result.default is not None and result.default.verdict is not None and not result.default.verdict.feasible:
        return f"winner: trial {best.number}, {what}; {change} over the default ({interval}), which misses the SLOs"
    winner = "winner of the trade-off" if len(result.spec.objectives) > 1 else "winner"
    return f"{winner}: {change} over the default ({interval}): trial {best.number}, {what}"


def gains_text(result: StudyResult) -> tuple[str, str]:
    """Change of every objective over the default, and the intervals with the repeats; signs as the metric moves. Of
    several objectives each says whether it is better, and what was gained stands first."""
    several = len(result.spec.objectives) > 1
    proven = [(o, g) for o, g in zip(result.spec.objectives, result.gains, strict=False) if g and g.repeats > 1]
    changes, intervals = [], []
    for objective, gain in sorted(proven, key=lambda pair: pair[1].relative, reverse=True):
        change, low, high = signed(objective, gain)
        changes.append(f"{percent(change)} {_metric(objective)}" + (f" ({effect(gain)})" if several else ""))
        intervals.append(f"{percent(low)} to {percent(high)}")
    intervals_text = f"95 % interval{'s' if len(intervals) > 1 else ''} " + "; ".join(intervals)
    return ", ".join(changes), f"{intervals_text}, {result.repeats} interleaved repeats"


def effect(gain: Gain) -> str:
    """What the interval of a gain shows."""
    return "better" if gain.low > 0 else "worse" if gain.high < 0 else "no difference shown"


def signed(objective: Objective, gain: Gain) -> tuple[float, float, float]:
    """Change, low and high as the metric itself moved: a gain of 10 % less latency is -0.1."""
    if objective.direction is Direction.MIN:
        return -gain.relative, -gain.high, -gain.low
    return gain.relative, gain.low, gain.high


def change_text(result: StudyResult, trial: Trial) -> str:
    """Change of a searched trial's first objective against the default, as the metric moved; empty where there is
    nothing to compare. A change that rests on one launch of each is marked with ``~``."""
    default = result.default
    if default is None or trial.role is not TrialRole.SEARCH or trial.state is not TrialState.DONE:
        return ""
    objective = result.spec.objectives[0]
    ours = repeat_values(trial, result.trials)
    theirs = repeat_values(default, result.trials)
    if ours and theirs:
        return percent(signed(objective, scoring.gain(theirs, ours, objective.direction, seed=0))[0])
    single = objective_value(trial)
    base = objective_value(default)
    return f"~{percent(single / base - 1)}" if single and base else ""


def _metric(objective: Objective) -> str:
    return metric_text(objective.metric, objective.statistic).replace("_", " ")


def _unproven(result: StudyResult) -> str:
    if result.default is None:
        return "the default was not measured"
    if result.default.state is TrialState.FAILED:
        return "the default could not run, so there is nothing to compare with"
    if result.repeats == 1:
        return "not proven: winner and default were measured again only once"
    return "not proven: winner and default were not measured again"


def _nothing_feasible(result: StudyResult) -> str:
    nearest = result.nearest
    if nearest is None or nearest.verdict is None:
        pending = result.state in ("new", "running") or not result.trials
        return "nothing has been measured yet" if pending else "no configuration could be measured"
    missed = [v for v in nearest.verdict.violations if v.hard]
    how = "; ".join(f"{v.slo} missed by {percent(v.relative, sign=False)} at {v.where}" for v in missed[:3])
    what = f"trial {nearest.number}, {one_line(nearest.configuration.text)}"
    if nearest.verdict.feasible:
        why = "met the SLOs once, but its repeats did not" if nearest.verdict.rankable else nearest.verdict.reasons[0]
        return f"no configuration is proven to meet the SLOs; nearest: {what}: {why}"
    return f"no configuration met the SLOs; nearest: {what}: {how or 'not measured at every level'}"
