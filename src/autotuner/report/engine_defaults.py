"""The baselines or defaults of the engines of a study, compared with that of the first one."""

from autotuner.plain_text import marked_line
from autotuner.report.headline import amount_text, interval_text, objective_text, signed
from autotuner.report.numbers import with_unit
from autotuner.report.result import StudyResult
from autotuner.report.views.failed_launches import failed_launches
from autotuner.scoring import Gain
from autotuner.study.base import FrozenModel
from autotuner.study.parameters.reference import ReferenceWord, reference_word
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.tuning.proof import decision, records
from autotuner.tuning.proof.decision import LEAST_REPEATS


class EngineDefault(FrozenModel):
    """The default of one of several engines, or the baseline that the study states for it."""

    engine: str
    trial: int | None
    """Number of its trial; None if it was not launched."""
    values: tuple[float | None, ...]
    """Each objective in the metric's unit."""
    gains: tuple[Gain | None, ...] = ()
    """Gain over that of the first engine in each objective, from the repeats; empty for the first one itself."""
    reference: ReferenceWord = "default"
    """Which of the two it is."""


def engine_defaults(result: StudyResult) -> list[EngineDefault]:
    """Returns one entry per engine, in the order of the file; nothing if the study has one engine."""
    return [
        _entry(result, entry.name, _default_of(result, entry.name)).replaced(reference=reference_word(entry.baseline))
        for entry in result.spec.engines
    ]


def engine_lines(result: StudyResult) -> list[str]:
    """``The default of sglang (trial 1): +12% output throughput vs the default of vllm (95% interval ..)``."""
    if not result.spec.engines:
        return []
    first = result.spec.engines[0].name
    return [_line(result, found, first) for found in engine_defaults(result) if found.engine != first]


def _default_of(result: StudyResult, engine: str) -> Trial | None:
    if engine == result.spec.engines[0].name:
        return result.default
    found = [
        t
        for t in result.trials
        if t.engine_default and t.state.finished and result.spec.engine_name(t.configuration) == engine
    ]
    return found[-1] if found else None


def _entry(result: StudyResult, engine: str, trial: Trial | None) -> EngineDefault:
    objectives = result.spec.objectives
    if trial is None:
        return EngineDefault(engine=engine, trial=None, values=(None,) * len(objectives))
    values = tuple(records.estimate(trial, result.trials, index) for index in range(len(objectives)))
    gains = (
        () if trial.role is TrialRole.DEFAULT else decision.gains(trial, result.trials, objectives, result.spec.confirm)
    )
    return EngineDefault(engine=engine, trial=trial.number, values=values, gains=gains)


def _line(result: StudyResult, found: EngineDefault, first: str) -> str:
    name = f"The {found.reference} of {found.engine}"
    if found.trial is None:
        return f"{name} was not measured."
    trial = result.trial(found.trial)
    name += f" (trial {found.trial})"
    if trial.state is TrialState.FAILED and trial.failure is not None:
        return f"{name} failed: {marked_line(trial.failure.message)}."
    if failed := failed_launches(trial, result):
        return f"{name}: {failed}."
    parts = []
    for objective, value, gain in zip(result.spec.objectives, found.values, found.gains, strict=True):
        if gain is not None and gain.repeats >= LEAST_REPEATS:
            change, low, high = signed(objective, gain)
            level = f"{gain.confidence * 100:g}% interval {interval_text(objective, gain, low, high)}"
            shown = f"{amount_text(objective, gain, change)} {objective_text(objective)}"
            parts.append(f"{shown} vs the {result.spec.reference_word} of {first} ({level})")
        elif value is not None:
            parts.append(f"{objective_text(objective)} {with_unit(objective.metric, value)}, not compared")
    return f"{name}: {'; '.join(parts)}." if parts else f"{name} could not be ranked."
