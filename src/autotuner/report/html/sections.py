"""Sections of the report below the answer: tables and lists."""

from collections.abc import Sequence
from statistics import fmean

from autotuner.report.analysis import (
    Comparison,
    FailureGroup,
    Figure,
    Importance,
    compared,
    importance,
    trials_text,
    usable_trials,
)
from autotuner.report.gpu_figures import TITLES, gpu_cells, have_gpus, known_columns
from autotuner.report.headline import answer_word
from autotuner.report.html.charts import bar
from autotuner.report.html.markup import Child, Html, element
from autotuner.report.html.result_charts import SHOWN_PARAMETERS, parameter_figures
from autotuner.report.html.tables import cell, table
from autotuner.report.numbers import UNSURE, metric_name, percent, unsure_text, with_unit
from autotuner.report.result import StudyResult, objective_value, trial_label
from autotuner.study.base import value_text
from autotuner.study.simulated import MARK
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study_file.writer import render_study

LOGS_SHOWN = 3
"""Number of logs shown per group of failures; the other trials of the group failed the same way."""


def comparison_section(result: StudyResult, places: Sequence[Comparison], repeats: Html | None) -> list[Child]:
    """Default and best in a table for each scenario and level."""
    other = compared(result)
    places = [place for place in places if place.figures]  # a capacity search may end without a latency
    if not places:
        return []
    several = max(len(f.default) for p in places for f in p.figures) > 1
    source = "Means of the interleaved repeats, with their range" if several else "One measurement each"
    parts: list[Child] = [repeats, element("p", f"{source}. {_meaning(several)}" if other else f"{source}.")]
    for place in places:
        title = f"{place.scenario}, {place.level}"
        effects = any(figure.effect for figure in place.figures)
        rows = [_figure_row(figure, compare=other is not None, effects=effects) for figure in place.figures]
        heads = ["metric", result.reference_word]
        if other is not None:
            heads += [_name(result, other), "change", *(["effect"] if effects else [])]
        parts.append(table(title, heads, rows, numbers=range(1, 4)))
    return parts


def _meaning(several: bool) -> str:
    if not several:
        return ""
    return (
        "“better” and “worse” mean that the 95% interval of the change excludes zero, as in the headline. Among twenty "
        "metrics, chance alone produces about one of these."
    )


def _name(result: StudyResult, other: Trial) -> str:
    if result.best is None:
        return f"closest (trial {other.number})"
    return f"{'challenger' if result.keeps_default else answer_word(result)} (trial {other.number})"


def _figure_row(figure: Figure, *, compare: bool, effects: bool) -> Html:
    name = metric_name(figure.metric, figure.statistic)
    cells = [element("th", name, scope="row"), cell(_range(figure.metric, figure.default), number=True)]
    if compare:
        change = figure.change
        cells.append(cell(_range(figure.metric, figure.candidate), number=True))
        cells.append(cell("-" if change is None else percent(change), number=True))
    if compare and effects:
        cells.append(element("td", figure.effect, class_=figure.effect or None))
    return element("tr", cells)


def _range(metric: str, values: Sequence[float]) -> Child:
    if not values:
        return "-"
    text = with_unit(metric, fmean(values))
    low = with_unit(metric, min(values))
    high = with_unit(metric, max(values))
    if low == high:
        return text
    return [text, element("span", f" ({low.rpartition(' ')[0] or low} to {high.rpartition(' ')[0]})", class_="small")]


def parameters_section(result: StudyResult) -> list[Child]:
    """Importance and best values of the parameters, with strip plots."""
    if not usable_trials(result):
        return []
    found = importance(result)
    objective = result.spec.objectives[0]
    what = metric_name(objective.metric, objective.statistic)
    if any(i.modeled is not None for i in found):
        return [*_modeled_importance(result, found, what), *parameter_figures(result)]
    note = element(
        "p",
        f"Share of the variance of log({what}) explained by the values of each parameter, over the feasible trials of "
        "the search, adjusted for chance. A search does not try all values equally often, so shares can overlap and "
        "add up to more than 100%.",
    )
    heads = ["parameter", "explains", "best value (by mean)", f"mean {what}", "value in the best trial"]
    rows = [_importance_row(result, i) for i in found]
    parts: list[Child] = [note, table("Parameters by explained variance", heads, rows, numbers=(3,))]
    parts += parameter_figures(result)
    if len(found) > SHOWN_PARAMETERS:
        parts.append(
            element("p", f"Plots show the first {SHOWN_PARAMETERS} of {len(found)} parameters.", class_="small")
        )
    return parts


def _modeled_importance(result: StudyResult, found: Sequence[Importance], what: str) -> list[Child]:
    note = element(
        "p",
        f"Shares of the variance of log({what}) over the space, and of the probability that a configuration starts and "
        "meets the SLOs, by a model of all measured trials. Shares with interactions may add up to more than 100%.",
    )
    heads = ["parameter", "explains", "with interactions", "feasibility", "best value (by mean)", f"mean {what}"]
    rows = [_importance_row(result, i, modeled=True) for i in found]
    return [note, table("Parameters by explained variance", [*heads, "value in the best trial"], rows, numbers=(5,))]


def _importance_row(result: StudyResult, found: Importance, *, modeled: bool = False) -> Html:
    shares: list[float | None] = [found.share]
    if modeled:
        shares = [None] * 3
    if found.modeled is not None:
        shares = [found.modeled.objective.alone, found.modeled.objective.total, found.modeled.feasible.total]
    objective = result.spec.objectives[0]
    best = "-" if found.best_mean is None else value_text(found.best)
    used = "-"
    if result.best is not None:
        values = result.best.configuration.values
        left_out = result.best.role is TrialRole.DEFAULT or result.best.engine_default
        inactive = "the engine's default" if left_out else "inactive"
        used = value_text(values[found.parameter]) if found.parameter in values else inactive
    return element(
        "tr",
        element("th", found.parameter, scope="row"),
        *(element("td", _share(s), class_="share") for s in shares),
        element("td", best),
        cell(with_unit(objective.metric, found.best_mean), number=True),
        element("td", used),
    )


def _share(share: float | None) -> Child:
    return "not known" if share is None else [bar(share), percent(share, sign=False)]


def trials_section(result: StudyResult) -> list[Child]:
    """A table with a row per trial."""
    if not result.trials:
        return []
    objectives = result.spec.objectives
    names = [metric_name(o.metric, o.statistic) for o in objectives]
    heads = ["trial", "role", "configuration", *names, "SLO", "note"]
    rows = [_trial_row(result, t) for t in result.trials]
    return [table("All trials in order", heads, rows, numbers=range(3, 3 + len(names)))]


def _trial_row(result: StudyResult, trial: Trial) -> Html:
    used = result.winner is not None and trial.number == result.winner.number
    role = trial.role.value if trial.role is not TrialRole.CONFIRM else f"repeat of {trial.repeat_of}"
    marks = [role, *_answer_marks(result, trial), *(["Pareto front"] if trial.number in result.front else [])]
    marks += [MARK] if trial.simulated else []
    verdict = trial.verdict
    met = "" if verdict is None else "missed" if not verdict.feasible else "cut" if trial.cut else "met"
    mark = UNSURE if verdict is not None and verdict.unsure else ""
    values = [
        cell(with_unit(o.metric, objective_value(trial, i)), number=True) for i, o in enumerate(result.spec.objectives)
    ]
    return element(
        "tr",
        element("th", trial.number, scope="row"),
        element("td", ", ".join(marks)),
        element("td", trial_label(trial), class_="set"),
        values,
        element("td", mark + met, class_="slo worse" if met == "missed" else "slo"),
        element("td", _note(trial)),
        class_="best" if used else None,
    )


def _answer_marks(result: StudyResult, trial: Trial) -> list[str]:
    """Returns what the ending says about a trial."""
    if trial.number in result.refuted:
        return ["did not hold up"]
    if result.winner is not None and trial.number == result.winner.number:
        return [answer_word(result)]
    return ["challenger"] if result.best is not None and trial.number == result.best.number else []


def _note(trial: Trial) -> str:
    if trial.failure is not None:
        return f"{trial.failure.cause.value.replace('_', ' ')}: {trial.failure.message}"
    if trial.state is not TrialState.DONE:
        return trial.state.value
    if trial.verdict is None:
        return ""
    missed = dict.fromkeys(": ".join(filter(None, (v.slo, v.text))) for v in trial.verdict.violations if v.hard)
    return "; ".join([*missed, *trial.verdict.reasons, *map(unsure_text, trial.verdict.unsure)])


def gpus_section(result: StudyResult) -> list[Child]:
    """GPU figures of each trial during its measurement."""
    shown = [trial for trial in result.trials if trial.measurements]
    if not have_gpus(shown):
        return []
    columns = known_columns(shown)
    rows = [_gpu_row(trial, columns) for trial in shown]
    note = (
        "Over all windows of a trial: throughput is a geometric mean, energy is total energy per token, memory and "
        "temperature are the maxima of the fullest and hottest GPU, and power is the sum over all GPUs."
    )
    heads = ["trial", "configuration", *(TITLES[i] for i in columns)]
    return [
        element("p", note),
        table("GPUs of every measured trial", heads, rows, numbers=range(2, len(heads))),
    ]


def _gpu_row(trial: Trial, columns: Sequence[int]) -> Html:
    what = trial_label(trial) + (f" ({MARK})" if trial.simulated else "")
    cells = gpu_cells(trial)
    return element(
        "tr",
        element("th", trial.number, scope="row"),
        element("td", what, class_="set"),
        [cell(cells[i], number=True) for i in columns],
    )


def failures_section(groups: Sequence[FailureGroup]) -> list[Child]:
    """Failures by cause, each with its remedy and the end of the server's log."""
    parts: list[Child] = []
    for group in groups:
        numbers = [t.number for t in group.trials]
        parts.append(element("h3", f"{group.cause.replace('_', ' ')}: {group.message}"))
        parts.append(element("p", f"{trials_text(numbers).capitalize()}. Fault: {group.blame.value}."))
        if group.remedy:
            parts.append(element("p", element("strong", "Remedy: "), group.remedy))
        logged = [t for t in group.trials if t.failure is not None and t.failure.log_tail]
        parts += [_log(t) for t in logged[:LOGS_SHOWN]]
        if len(logged) > LOGS_SHOWN:
            parts.append(
                element("p", f"{len(logged) - LOGS_SHOWN} more logs are stored; see autotuner logs.", class_="small")
            )
    return parts


def _log(trial: Trial) -> Html:
    failure = trial.failure
    code = "" if failure is None or failure.exit_code is None else f" (exit code {failure.exit_code})"
    summary = f"Last log lines of trial {trial.number}, {trial_label(trial)}{code}"
    tail = failure.log_tail if failure else ""
    return element("details", element("summary", summary), _pre(tail, f"Log of trial {trial.number}"))


def study_section(result: StudyResult) -> list[Child]:
    """The study as a study file."""
    spec = result.spec
    goals = [*(o.text for o in spec.objectives), *(s.text for s in spec.slos)]
    return [
        element("p", f"{' or '.join(spec.engine_kinds)} serving {spec.model.path}: {'; '.join(goals)}."),
        *_warm_start(result),
        element("details", element("summary", "Study file"), _pre(render_study(spec), "Study file")),
    ]


def _warm_start(result: StudyResult) -> list[Child]:
    """The earlier studies that the search learns from."""
    if result.beginning is None or not result.beginning.learned:
        return []
    title = "The search learned from earlier studies before its first launch; no result of theirs is compared here:"
    return [element("p", title), element("ul", [element("li", found.text) for found in result.beginning.learned])]


def _pre(text: str, label: str) -> Html:
    return element("pre", text, tabindex="0", role="region", aria_label=label)
