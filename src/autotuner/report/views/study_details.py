"""A study as a page shows it: its answer, and one light row per trial instead of everything that was stored.

Values are those of ``show --json``; what people read beside them are the texts of the command line.
"""

from collections.abc import Mapping

from autotuner.report.headline import headline, objective_text, summary_lines
from autotuner.report.overview import StudyOverview
from autotuner.report.result import StudyResult, trial_label
from autotuner.report.views.capacity_curves import CapacityCurve, capacity_curve
from autotuner.report.views.goal_texts import figure_title, level_title, study_goals, target_text
from autotuner.report.views.outcome import Tone, outcome, reasons, undecided
from autotuner.report.views.trial_change import TrialChange, trial_changes
from autotuner.report.views.window_figures import (
    FigureKind,
    WindowFigures,
    figure_kind,
    figure_name,
    figure_names,
    window_figures,
)
from autotuner.scoring.slo import missed, slo_value
from autotuner.study.base import FrozenModel, Value
from autotuner.study.metric import METRICS, Direction
from autotuner.study.search.beginning import Beginning
from autotuner.study.search.importance import ParameterImportance
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState


class GoalColumn(FrozenModel):
    """One figure of the trials: of an objective, an SLO, or both."""

    title: str
    """``p99 TTFT``."""
    level: str
    """``@all``."""
    target: str
    """``max``, ``<= 400 ms``, or both."""
    figure: str
    """``p99 ttft``, as in the values of windows."""
    metric: str
    direction: Direction
    """Which values are better."""
    objective: int | None
    """Index of the objective."""
    slo: int | None
    """Index of the SLO."""
    at: str | None
    scenario: str | None
    threshold: float | None
    """Bound of the SLO, in the metric's unit."""


class GoalFigure(FrozenModel):
    """The figure of a trial."""

    value: float | None
    missed: bool
    """Whether it misses the SLO."""


class FailureLine(FrozenModel):
    """Why a trial has no usable result."""

    cause: str
    message: str
    remedy: str


class TrialRow(FrozenModel):
    """One trial, without its details."""

    number: int
    role: TrialRole
    state: TrialState
    outcome: str
    tone: Tone
    rank: int | None
    label: str
    """Its values as text."""
    values: Mapping[str, Value]
    repeat_of: int | None
    block: int | None
    goals: tuple[GoalFigure, ...]
    """One per column of the study."""
    objectives: tuple[float | None, ...]
    uncertainty: tuple[float | None, ...]
    """Half-width of the 95% interval relative to the value, per objective."""
    changes: tuple[TrialChange | None, ...]
    """Change of each objective relative to the default."""
    reasons: tuple[str, ...]
    """Why it failed, does not count, or may not win."""
    failure: FailureLine | None
    cut: str
    """Why levels were left out; empty if all were measured."""
    feasible: bool | None
    simulated: bool
    gpus: int
    windows: tuple[WindowFigures, ...]
    capacities: tuple[CapacityCurve, ...]
    phases: Mapping[str, float]
    """Seconds in each phase, in order."""
    created_at: float
    started_at: float | None
    finished_at: float | None


class StudyDetails(FrozenModel):
    """A study with its answer and its trials. Times are seconds since the epoch."""

    name: str
    state: str
    standing: str
    """The state for people; a run that was killed is ``cut off``."""
    running: bool
    why: str
    headline: str
    """The answer in one line."""
    summary: tuple[str, ...]
    """What qualifies it, one line each."""
    simulated: str
    """The sentence about simulated numbers; empty if there are none."""
    ending: str
    proven: bool
    reference: str
    """``default``, or ``baseline``."""
    launches: int
    planned: int
    engines: tuple[str, ...]
    deployers: tuple[str, ...]
    model: str
    source: str
    created_at: float
    updated_at: float
    read_at: float
    """When the server read the study."""
    parameters: tuple[str, ...]
    goals: tuple[GoalColumn, ...]
    objectives: tuple[str, ...]
    """``p99 TTFT``, ``output throughput``."""
    slos: tuple[str, ...]
    figures: Mapping[str, FigureKind]
    """What the windows have, by name."""
    default: int | None
    best: int | None
    winner: int | None
    front: tuple[int, ...]
    refuted: tuple[int, ...]
    compared: tuple[int, ...]
    """Trials of the proof: the default, then the challengers that were repeated."""
    confidence: float
    """Of the intervals of the proof."""
    noise: float
    importance: tuple[ParameterImportance, ...]
    predicted: bool
    """Whether the search predicted figures of its trials."""
    beginning: str
    """What the search learns from."""
    trials: tuple[TrialRow, ...]
    """Best first; repeats follow what they repeat."""


def study_details(result: StudyResult, overview: StudyOverview, *, now: float) -> StudyDetails:
    """Collects what a page shows.

    Args:
        result: The study.
        overview: Its progress.
        now: Seconds since the epoch.
    """
    spec = result.spec
    repeated = {t.repeat_of for t in result.trials if t.repeat_of is not None}
    compared = [t.number for t in result.trials if t.number in repeated]
    beginning: Beginning | None = result.beginning
    return StudyDetails(
        name=spec.name,
        state=result.state,
        standing=overview.standing,
        running=overview.running,
        why=result.why,
        headline=headline(result),
        summary=tuple(summary_lines(result)[1:]),
        simulated=result.simulated,
        ending=result.ending.value,
        proven=result.ending.proven,
        reference=result.reference_word,
        launches=overview.launches,
        planned=overview.planned,
        engines=spec.engine_kinds,
        deployers=tuple(dict.fromkeys(d.kind for d in spec.deployers)),
        model=spec.model.name or spec.model.path,
        source=overview.source,
        created_at=overview.created_at,
        updated_at=overview.updated_at,
        read_at=now,
        parameters=tuple(p.name for p in spec.parameters),
        goals=tuple(_goals(spec)),
        objectives=tuple(objective_text(o) for o in spec.objectives),
        slos=tuple(slo.text for slo in spec.slos),
        figures=_figures(result),
        default=result.default.number if result.default else None,
        best=result.best.number if result.best else None,
        winner=result.winner.number if result.winner else None,
        front=result.front,
        refuted=result.refuted,
        compared=tuple(compared),
        confidence=spec.confirm.confidence,
        noise=result.noise,
        importance=result.importance,
        predicted=any(t.rationale is not None and t.rationale.expected for t in result.trials),
        beginning=beginning.text if beginning is not None else "",
        trials=tuple(_row(result, trial, rank) for trial, rank in result.ranking),
    )


def _goals(spec: StudySpec) -> list[GoalColumn]:
    found = []
    for goal in study_goals(spec):
        slo = None if goal.slo is None else spec.slos[goal.slo]
        objective = None if goal.objective is None else spec.objectives[goal.objective]
        found.append(
            GoalColumn(
                title=figure_title(goal),
                level=level_title(goal, spec.workload),
                target=target_text(goal, spec),
                figure=figure_name(goal.metric, goal.statistic),
                metric=goal.metric,
                direction=objective.direction if objective else METRICS[goal.metric].better,
                objective=goal.objective,
                slo=goal.slo,
                at=goal.at,
                scenario=goal.scenario,
                threshold=slo.threshold if slo else None,
            )
        )
    return found


def _row(result: StudyResult, trial: Trial, rank: int | None) -> TrialRow:
    found = outcome(result, trial)
    verdict = trial.verdict
    failure = trial.failure
    return TrialRow(
        number=trial.number,
        role=trial.role,
        state=trial.state,
        outcome=found.text,
        tone=found.tone,
        rank=rank,
        label=trial_label(trial),
        values=trial.configuration.values,
        repeat_of=trial.repeat_of,
        block=trial.block,
        goals=_goal_figures(result.spec, trial),
        objectives=verdict.objectives if verdict else (),
        uncertainty=verdict.uncertainty if verdict else (),
        changes=trial_changes(result, trial),
        reasons=tuple(reasons(trial)),
        failure=FailureLine(cause=failure.cause.value, message=failure.message, remedy=failure.remedy)
        if failure
        else None,
        cut=trial.cut.text if trial.cut else "",
        feasible=verdict.feasible if verdict else None,
        simulated=trial.simulated,
        gpus=trial.gpus,
        windows=tuple(window_figures(m) for m in trial.measurements),
        capacities=tuple(capacity_curve(found) for found in trial.capacities),
        phases=trial.phases,
        created_at=trial.created_at,
        started_at=trial.started_at,
        finished_at=trial.finished_at,
    )


def _goal_figures(spec: StudySpec, trial: Trial) -> tuple[GoalFigure, ...]:
    objectives = trial.verdict.objectives if trial.verdict else ()
    scored = trial.verdict is not None and bool(trial.measurements)
    found = []
    for goal in study_goals(spec):
        value = None
        if goal.objective is not None and goal.objective < len(objectives):
            value = objectives[goal.objective]
        violated = False
        if goal.slo is not None and scored:
            slo = spec.slos[goal.slo]
            bounded = slo_value(slo, trial.measurements)
            value = bounded if value is None else value
            violated = missed(slo, bounded) and not undecided(trial, slo, bounded)
        found.append(GoalFigure(value=value, missed=violated))
    return tuple(found)


def _figures(result: StudyResult) -> dict[str, FigureKind]:
    names = dict[tuple[tuple[str, str | None, str], ...], None]()  # nearly all windows have the same
    for trial in result.trials:
        for m in (*trial.measurements, *(level.measurement for c in trial.capacities for level in c.levels)):
            names[figure_names(m)] = None
    return {name: figure_kind(metric, statistic) for found in names for metric, statistic, name in found}
