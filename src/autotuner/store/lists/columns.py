"""Columns of studies and trials by which lists are filtered and sorted, from the models that are stored beside them."""

import math
from collections.abc import Mapping, Sequence

from autotuner.study.metric import Direction
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial

Columns = dict[str, object]


def study_columns(spec: StudySpec) -> Columns:
    """The columns of a study that follow from its spec."""
    return {
        "engines": engines_text(spec.engine_kinds),
        "maximized": int(spec.objectives[0].direction is Direction.MAX) if spec.objectives else None,
    }


def engines_text(kinds: Sequence[str]) -> str:
    """Kinds of engines as they are stored: ``,sglang,vllm,``, so that each has a comma on both sides."""
    return f",{','.join(kinds)},"


def answer_columns(summary: Mapping[str, object] | None) -> Columns:
    """The columns of a study's stored answer; null without one."""
    found = (summary or {}).get("answer")
    answer: Mapping[str, object] = found if isinstance(found, Mapping) else {}
    ending = answer.get("ending")
    return {"ending": str(ending) if ending is not None else None, "change": _finite(answer.get("change"))}


def trial_columns(trial: Trial) -> Columns:
    """The columns of a trial."""
    verdict = trial.verdict
    value = verdict.objectives[0] if verdict is not None and verdict.objectives else None
    return {
        "role": trial.role.value,
        "feasible": None if trial.meets_slos is None else int(trial.meets_slos),
        "value": _finite(value),
        "cause": trial.failure.cause.value if trial.failure is not None else None,
        "started_at": trial.started_at,
        "finished_at": trial.finished_at,
    }


def _finite(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None  # type: ignore[arg-type]
