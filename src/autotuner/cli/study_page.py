"""Output of ``show STUDY``: trials by rank with their metrics, change and reasons, then the answer."""

from collections.abc import Mapping, Sequence

from rich.text import Text

from autotuner.cli.columns import Column, render, screen_width, table_text
from autotuner.cli.goal_columns import goal_cell, goal_columns
from autotuner.cli.texts import duration_text
from autotuner.plain_text import marked_line
from autotuner.report.gpu_figures import TITLES, gpu_cells, known_columns
from autotuner.report.numbers import metric_name, percent
from autotuner.report.result import StudyResult, trial_label
from autotuner.report.terminal import marked_summary
from autotuner.report.views.goal_texts import study_goals
from autotuner.report.views.outcome import Tone, outcome, reasons
from autotuner.report.views.trial_change import change_text
from autotuner.scoring.slo import slo_value
from autotuner.study.simulated import MARK
from autotuner.study.trial import Trial, TrialRole

_STYLES: Mapping[Tone, str] = {
    "bad": "red", "doubtful": "yellow", "open": "cyan", "best": "bold green", "good": "green"
}  # fmt: skip
_PARAMETERS = 8
"""Number of parameters whose importance is shown."""
_LEAST_SHARE = 0.01
"""A parameter that explains less is not shown."""
_RANK_DROP = 100
"""Rows are ordered by rank, so a narrow screen can do without this column."""
_TIME_DROP = 101
_GPU_DROP = 102


def study_text(result: StudyResult, *, width: int | None = None, standing: str = "") -> str:
    """Renders the ranked trials and the answer, ``width`` characters wide.

    Args:
        result: The study.
        width: Characters per line; None: those of the screen.
        standing: As in :attr:`autotuner.report.overview.StudyOverview.standing`; empty: the study's state.
    """
    spec = result.spec
    width = screen_width() if width is None else width
    head = f"{spec.name}: {standing or result.state}" + (f" ({marked_line(result.why)})" if result.why else "")
    goals = "; ".join([*(o.text for o in spec.objectives), *(s.text for s in spec.slos)])
    gpus = known_columns(result.trials)
    columns = _columns(result, gpus)
    rows = [_cells(result, trial, rank, gpus) for trial, rank in result.ranking]
    return "\n".join(
        [
            *(render(Text(line), width) for line in (head, goals, *_warm_start(result))),
            "",
            table_text(columns, rows, width=width),
            "",
            *(render(Text(line), width) for line in marked_summary(result).splitlines()),
            *_importance(result, width),
        ]
    )


def _importance(result: StudyResult, width: int) -> list[str]:
    """What drives the first objective and what drives feasibility, the most important parameters first; nothing until
    the study is done. It was computed then: a model of all trials takes libraries that a page must not wait for."""
    found = result.importance
    shown = [p for p in found if max(p.objective.total, p.feasible.total) >= _LEAST_SHARE][:_PARAMETERS]
    if not shown:
        return []
    first = result.spec.objectives[0]
    columns = [
        Column("parameter", wraps=True),
        Column(metric_name(first.metric, first.statistic), align="right"),
        Column("with interactions", align="right", drop=1),
        Column("feasibility", align="right"),
    ]
    rows = [
        [
            Text(p.parameter),
            *(Text(percent(share, sign=False)) for share in (p.objective.alone, p.objective.total, p.feasible.total)),
        ]
        for p in shown
    ]
    more = f"; {len(found) - len(shown)} more are in the report" if len(found) > len(shown) else ""
    title = f"what matters (share of the variance, by a model of all measured trials{more}):"
    return ["", render(Text(title), width), table_text(columns, rows, width=width)]


def _warm_start(result: StudyResult) -> list[str]:
    """What the search learns from."""
    return [result.beginning.text] if result.beginning is not None and result.beginning.text else []


def _columns(result: StudyResult, gpus: Sequence[int]) -> list[Column]:
    spec = result.spec
    return [
        Column("rank", align="right", drop=_RANK_DROP),
        Column("trial", align="right"),
        Column("state"),
        Column("configuration", wraps=True),
        *goal_columns(spec),
        Column(f"vs {result.reference_word}", align="right", drop=1),
        Column("time", align="right", drop=_TIME_DROP),
        *(Column(TITLES[i], align="right", drop=_GPU_DROP) for i in gpus),
    ]


def _cells(result: StudyResult, trial: Trial, rank: int | None, gpus: Sequence[int]) -> list[Text]:
    spec = result.spec
    objectives = trial.verdict.objectives if trial.verdict else ()
    slos = [slo_value(slo, trial.measurements) for slo in spec.slos] if trial.verdict and trial.measurements else []
    left_open = trial.verdict is not None and trial.verdict.feasible and not trial.verdict.rankable
    figures = gpu_cells(trial)
    is_best = result.winner is not None and trial.number == result.winner.number
    style = "bold green" if is_best else "dim" if trial.role is TrialRole.CONFIRM else ""
    cells = [
        Text("" if rank is None else str(rank)),
        Text(str(trial.number)),
        _state(result, trial),
        _configuration(trial),
        *(goal_cell(goal, spec, objectives, slos, left_open=left_open) for goal in study_goals(spec)),
        Text(change_text(result, trial)),
        Text(_time(trial)),
        *(Text(figures[i]) for i in gpus),
    ]
    for cell in cells:
        cell.style = cell.style or style
    return cells


def _state(result: StudyResult, trial: Trial) -> Text:
    found = outcome(result, trial)
    return Text(found.text, style=_STYLES[found.tone])


def _configuration(trial: Trial) -> Text:
    """The tuned values, and below them why the trial is not among the best."""
    what = f"↳ repeat of {trial.repeat_of}" if trial.repeat_of is not None else marked_line(trial_label(trial))
    if trial.simulated:
        what = f"{what} ({MARK})"
    lines = [what, *(f"  {marked_line(reason)}" for reason in reasons(trial))]
    return Text("\n").join([Text(lines[0]), *(Text(line, style="dim") for line in lines[1:])])


def _time(trial: Trial) -> str:
    if trial.started_at is None or trial.finished_at is None:
        return ""
    return duration_text(max(0.0, trial.finished_at - trial.started_at))
