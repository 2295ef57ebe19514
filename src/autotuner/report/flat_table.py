"""The results of a study as one table, with a row per trial, scenario and load level.

A capacity search has a row for ``capacity``, and one for each level that it tested. A short window before the full ones
(``short_window``) has a row of its own.

Trials without a measurement have one row. The CSV export and the data frames share this table. Times are in seconds,
rates per second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from autotuner.errors import MissingExtraError, Problem, UsageError
from autotuner.report.quality import COLUMNS, quality_row
from autotuner.report.server_diagnosis import diagnosis
from autotuner.study.base import Value
from autotuner.study.measurement import GpuUse, Measurement, Slice
from autotuner.study.metric import METRICS
from autotuner.study.parameters.engines import qualified_values
from autotuner.study.parameters.reference import reference_word
from autotuner.study.trial import Trial, TrialRole

if TYPE_CHECKING:
    from autotuner.report.result import StudyResult

Library = Literal["pandas", "polars"]
_LIBRARIES: tuple[Library, ...] = ("pandas", "polars")
_STATISTICS = ("mean", "p50", "p90", "p99")
_FIGURES = [(m.name, s) for m in METRICS.values() for s in (_STATISTICS if m.distribution else (None,))]

_SERVER_GAUGES = ("running", "waiting", "kv_usage")
_SERVER_FIGURES = ("kv_full_share", "preemptions", "prefix_hit_rate", "acceptance_rate")
_SERVER_COLUMNS = (
    *(f"server_{name}:{statistic}" for name in _SERVER_GAUGES for statistic in ("mean", "max")),
    *(f"server_{name}" for name in _SERVER_FIGURES),
    "diagnosis",
)


def table_columns(result: StudyResult) -> list[str]:
    """Returns the column titles; each parameter and each figure has a column."""
    return [
        *("trial", "role", "repeat_of", "state", "failure", "feasible", "scenario", "level"),
        *(f"parameter:{name}" for name in _names(result)),
        *(f"{metric}:{statistic}" if statistic else metric for metric, statistic in _FIGURES),
        *("requests", "failed", "client_limited", "steady", "records", "gpus"),
        *(f"gpu_{name}" for name in GpuUse.model_fields),
        *("simulated", "answer", "ending"),
        *("arrived", "overloaded", "thin", "too_few", "uncertainty"),
        *_SERVER_COLUMNS,
        "slices",
        "decision",
        "usd_per_hour",
        "cut",
        *COLUMNS,
        "short_window",
    ]


def table_rows(result: StudyResult) -> Iterator[list[object]]:
    """Yields the rows; None where there is no value."""
    names = _names(result)
    for trial in result.trials:
        values = {**trial.configuration.values, **_launched(trial, result)}
        levels = [level.measurement for found in trial.capacities for level in found.levels]
        for m in (*trial.looks, *trial.measurements, *levels) or (None,):
            yield [
                *_head(trial),
                *((m.scenario, m.level.text) if m else (None, None)),
                *(values.get(name) for name in names),
                *(m.value(*figure) if m else None for figure in _FIGURES),
                *_window(m),
                trial.gpus,
                *(getattr(m.gpu_use, name) if m and m.gpu_use else None for name in GpuUse.model_fields),
                trial.simulated,
                _answer(trial, result),
                result.ending.value,
                *_doubts(m),
                *_server(m),
                _slices(m),
                m.decision.state if m and m.decision else None,
                trial.usd_per_hour,
                trial.cut.text if trial.cut else None,
                *quality_row(trial),
                any(m is look for look in trial.looks) if m else None,
            ]


def _names(result: StudyResult) -> list[str]:
    """The parameters, with the flags that named combinations stand for, or stood for when a trial was launched."""
    present = [name for p in result.spec.parameters for name in (p.name, *p.flags)]
    launched = [name for t in result.trials for name in _launched(t, result) if t.flags is not None]
    return list(dict.fromkeys([*present, *launched]))


def _launched(trial: Trial, result: StudyResult) -> dict[str, Value]:
    """What the launch set. With several engines, each flag is under its engine's name, apart from other engines' flags
    of that name."""
    engine = result.spec.engine_name(trial.configuration)
    if not engine:
        return dict(trial.launched.values)
    return qualified_values(engine, trial.launched.values, [p.name for p in result.spec.shared])


def data_frame(result: StudyResult, library: Library | None) -> Any:
    """Builds a data frame; see :meth:`autotuner.report.result.StudyResult.to_dataframe`."""
    if library is not None and library not in _LIBRARIES:
        raise UsageError(Problem(where="library", value=str(library), why="unknown", remedy="use pandas or polars"))
    columns = table_columns(result)
    rows = [[" ".join(map(str, v)) if isinstance(v, tuple) else v for v in row] for row in table_rows(result)]
    for name in _LIBRARIES if library is None else (library,):
        try:
            frames = import_module(name)
        except ModuleNotFoundError:
            continue
        if name == "pandas":
            return frames.DataFrame(rows, columns=columns)
        return frames.DataFrame(rows, schema=columns, orient="row", infer_schema_length=None, strict=False)
    raise MissingExtraError(f"to_dataframe() with {library or 'pandas or polars'}", library or "pandas")


def _head(trial: Trial) -> Sequence[object]:
    feasible = trial.verdict.feasible if trial.verdict else None
    cause = trial.failure.cause.value if trial.failure else None
    is_reference = trial.role is TrialRole.DEFAULT
    role = reference_word(trial.configuration.values) if is_reference else trial.role.value
    return [trial.number, role, trial.repeat_of, trial.state.value, cause, feasible]


def _window(m: Measurement | None) -> Sequence[object]:
    if m is None:
        return [None] * 5
    return [m.requests, m.failed, m.self_check.client_limited, m.steady, m.records]


def _answer(trial: Trial, result: StudyResult) -> str:
    """Returns what the ending says about a trial's configuration; a repeat has the same value as the repeated trial."""
    number = trial.number if trial.repeat_of is None else trial.repeat_of
    if number in result.refuted:
        return "did_not_hold_up"
    if result.winner is None or number != result.winner.number:
        return ""
    return "winner" if result.ending.answered else "best_so_far"


def _doubts(m: Measurement | None) -> Sequence[object]:
    """Returns the qualifications of a window's figures; several in one cell are separated by semicolons."""
    if m is None:
        return [None] * 5
    few = [f"{metric}:{s}" for metric, d in m.distributions.items() for s in _STATISTICS if not d.carries(s)]
    spread = [f"{name.replace(' ', ':')}={half:.3g}" for name, half in m.uncertainty.items()]
    return [m.arrived, m.overloaded, "; ".join(m.thin), "; ".join(few), "; ".join(spread)]


def _slices(m: Measurement | None) -> str | None:
    """The kinds of requests and the stages of a window, divided by semicolons."""
    if m is None:
        return None
    return "; ".join(
        " ".join([part.label, f"requests={part.requests}", f"failed={part.failed}", *_slice_figures(part)])
        for part in m.slices
    )


def _slice_figures(part: Slice) -> Iterator[str]:
    for metric, rate in part.scalars.items():
        yield f"{metric}={rate:.6g}"
    for metric, found in part.distributions.items():
        for statistic in _STATISTICS:
            value = found.value(statistic)
            if value is not None:
                yield f"{metric}:{statistic}={value:.6g}"


def _server(m: Measurement | None) -> Sequence[object]:
    """The server's own metrics; several causes are separated by semicolons."""
    if m is None or m.server is None:
        return [None] * len(_SERVER_COLUMNS)
    gauges = [getattr(m.server, name) for name in _SERVER_GAUGES]
    return [
        *(getattr(stats, statistic) if stats else None for stats in gauges for statistic in ("mean", "max")),
        *(getattr(m.server, name) for name in _SERVER_FIGURES),
        "; ".join(diagnosis(m)),
    ]
