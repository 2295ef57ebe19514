"""Results for other programs: JSON, CSV, the older results JSON, and the winner as a shell command."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json

from autotuner.report.engine_defaults import engine_defaults
from autotuner.report.headline import headline
from autotuner.report.racing import racing_summary
from autotuner.report.result import StudyResult, objective_value
from autotuner.report.study_cost import study_cost
from autotuner.report.views.launch_line import start_line
from autotuner.report.views.trial_change import trial_changes
from autotuner.secrets import clean
from autotuner.study.measurement import Distribution
from autotuner.study.parameters.environment import flags_in, variables_in
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.tuning.proof import records

_AS_THEY_ARE = frozenset({str, int, bool, type(None)})
OLDER_STATISTICS = ("mean", "p50", "p90", "p99")


def strict_json(data: Any) -> str:
    """Formats data as standard JSON without secrets; inf and NaN become null."""
    plain = clean(plain_data(data))
    try:
        # The standard library indents in Python, which takes seconds for a long study.
        return to_json(plain, indent=2, inf_nan_mode="null").decode()
    except ValueError:  # text that is not Unicode, such as the path of a file
        return json.dumps(plain, ensure_ascii=False, indent=2, allow_nan=False)


def plain_data(data: Any) -> Any:
    """Converts models, dataclasses and containers to JSON types."""
    kind = type(data)  # nearly all values of a long study are of these
    if kind in _AS_THEY_ARE:
        return data
    if kind is float:
        return data if math.isfinite(data) else None
    if kind is dict:
        return {str(k): plain_data(v) for k, v in data.items()}
    if kind is list or kind is tuple:
        return [plain_data(v) for v in data]
    return _converted(data)


def _converted(data: Any) -> Any:
    if isinstance(data, StudyResult):
        return _marked_result(data)
    if isinstance(data, BaseModel):
        return plain_data(data.model_dump(mode="python"))
    if is_dataclass(data) and not isinstance(data, type):
        return plain_data(asdict(data))
    if isinstance(data, Mapping):
        return plain_data(dict(data))
    if isinstance(data, list | tuple | set | frozenset):
        return plain_data([*data])
    if isinstance(data, Enum):
        return data.value
    if isinstance(data, float):
        return plain_data(float(data))
    return data if isinstance(data, int | str) else str(data)


def _marked_result(result: StudyResult) -> dict[str, Any]:
    """Converts a result. Each trial gets its rank, its changes relative to the default, and whether it is simulated;
    the whole gets a sentence about the latter."""
    data: dict[str, Any] = plain_data(result.model_dump(mode="python"))
    for entry, trial in zip(data["trials"], result.trials, strict=True):
        entry["rank"] = result.ranks.get(trial.number)
        entry["changes"] = plain_data(trial_changes(result, trial))
        entry["simulated"] = trial.simulated
    for name in ("default", "best", "winner", "nearest"):
        if (found := getattr(result, name)) is not None:
            data[name]["simulated"] = found.simulated
    return {
        **data,
        "headline": headline(result),
        "compared_with": result.reference_word,
        "simulated": result.simulated or None,
        "cost": plain_data(study_cost(result)),
        "engine_defaults": plain_data(engine_defaults(result)),
        "racing": plain_data(racing_summary(result)),
    }


def export_text(result: StudyResult, form: str) -> str:
    """Exports a result.

    Args:
        result: The study's result.
        form: ``json``, ``csv`` or ``older``.

    Raises:
        ValueError: If the form is unknown.
    """
    if form == "json":
        return strict_json(result) + "\n"
    if form == "csv":
        return csv_text(result)
    if form == "older":
        return strict_json(older_results(result)) + "\n"
    raise ValueError(f"unknown form of export: {form}")


def command_line(result: StudyResult) -> str:
    """Formats the command that starts the winner as one shell line, as :func:`start_line`; empty without a winner."""
    return start_line(result, result.winner) if result.winner is not None else ""


def best_json(result: StudyResult) -> dict[str, Any]:
    """Returns the winner as data for programs."""
    winner = result.winner
    answer = {
        "study": result.spec.name,
        "ending": result.ending.value,
        "headline": headline(result),
        "compared_with": result.reference_word,
        "proven": result.ending.proven,
        "simulated": result.simulated or None,
        "refuted": list(result.refuted),
        "decision": plain_data(result.decision),
        "bound": plain_data(result.bound),
        "cost": plain_data(study_cost(result)),
        "racing": plain_data(racing_summary(result)),
        "engine_defaults": plain_data(engine_defaults(result)),
    }
    if winner is None:
        return {**answer, "winner": None}
    set_values = winner.launched.values
    return {
        **answer,
        "winner": winner.number,
        "engine": result.spec.engine_name(winner.configuration) or None,
        "gpus": winner.gpus,
        "parameters": dict(winner.configuration.values),
        "flags": flags_in(set_values),
        "env": {name: text for name, text in variables_in(set_values).items() if text is not None},
        "argv": list(result.command),
        "command": command_line(result),
        "default_is_as_good": result.as_good,
        "gain": plain_data(result.gain),
        "objectives": {
            o.text: records.estimate(winner, result.trials, i) for i, o in enumerate(result.spec.objectives)
        },
    }


def csv_text(result: StudyResult) -> str:
    """Formats the table of :mod:`autotuner.report.flat_table` as CSV."""
    # Not needed for a study's page, whose start-up time counts.
    import csv
    import io

    from autotuner.report.flat_table import table_columns, table_rows

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table_columns(result))
    writer.writerows([_cell(value) for value in row] for row in table_rows(result))
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return "" if value is None else value


def older_results(result: StudyResult) -> dict[str, Any]:
    """Returns the results in the format of the older tool: ``best_result`` and ``all_results``, one entry per finished
    trial.

    As in that tool, a lower score is better. A trial without a usable result has no score (null) instead of an infinite
    one.
    """
    trials = [t for t in result.trials if t.role is not TrialRole.CONFIRM and t.state.finished]
    entries = [_older_entry(result, t) for t in trials]
    winner = result.winner.number + 1 if result.winner else None
    started = [t.started_at for t in result.trials if t.started_at is not None]
    ended = [t.finished_at for t in result.trials if t.finished_at is not None]
    return {
        "task_name": result.spec.name,
        "simulated": result.simulated or None,
        "ending": result.ending.value,
        "total_experiments": len(entries),
        "successful_experiments": sum(e["status"] == "success" for e in entries),
        "elapsed_time": max(ended) - min(started) if started and ended else 0.0,
        "best_result": next((e for e in entries if e["experiment_id"] == winner), None),
        "all_results": entries,
    }


def _older_entry(result: StudyResult, trial: Trial) -> dict[str, Any]:
    value = objective_value(trial)
    maximized = result.spec.objectives[0].direction.value == "max"
    usable = trial.state is TrialState.DONE and trial.verdict is not None and trial.verdict.rankable
    known = usable and value is not None and math.isfinite(value)
    score = None if value is None or not known else -value if maximized else value
    return {
        "experiment_id": trial.number + 1,
        "simulated": trial.simulated,
        "parameters": dict(trial.launched.values),
        "status": "success" if usable else "failed",
        "metrics": _older_metrics(trial) if trial.measurements else None,
        "objective_score": score,
        "slo_violated": None if trial.verdict is None else not trial.verdict.feasible,
        "error_message": trial.failure.message if trial.failure else None,
        "container_logs": trial.failure.log_tail if trial.failure else None,
    }


def _older_metrics(trial: Trial) -> dict[str, Any]:
    """Metrics per window. The older tool averaged over concurrencies, which hides the level that matters."""
    windows = []
    for m in trial.measurements:
        stats = {name: _older_stats(d) for name, d in m.distributions.items()}
        windows.append({"scenario": m.scenario, "level": m.level.text, **m.scalars, **stats})
    return {"windows": windows}


def _older_stats(distribution: Distribution) -> dict[str, float | None]:
    return {s: distribution.value(s) for s in OLDER_STATISTICS}
