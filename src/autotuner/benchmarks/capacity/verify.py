"""Check of a capacity from its request records alone: every decision, every figure, every level and the bracket.

Nothing that the result says is taken for granted. What each level is tested for follows from the SLOs, the confidence
and the levels before it, the decision and the measurement follow from the records, and the bracket from the decisions.
"""

import hashlib
from collections.abc import Mapping, Sequence
from math import isclose
from pathlib import Path
from typing import Any

from autotuner.benchmarks.capacity.question import question_of
from autotuner.benchmarks.capacity.replays import ReplayCheck
from autotuner.benchmarks.capacity.steps import SearchSteps, method_of
from autotuner.benchmarks.measuring.level_replay import arrivals, decide
from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.measuring.summary import summarize
from autotuner.study.capacity.level_test import CapacityBound, LevelPlan
from autotuner.study.capacity.result import CapacityLevel, CapacityResult, LevelCheck
from autotuner.study.capacity.units import load_level, load_text
from autotuner.study.workload import LoadUnit

_TOLERANCE = 1e-9
"""Relative difference between two computers' floating-point results."""
_NOT_FROM_RECORDS = {"server", "gpu_use", "error_messages"}
"""Fields of a measurement that do not come from the request records, or not word for word."""
_LATER = ("lagged", "tpot_lag_s")
"""Fields of a self-check that earlier versions did not have."""
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, IndexError)
"""What reading and repeating records raises that someone has edited."""
_BRACKET = ("certified", "refuted", "certified_missing", "refuted_missing", "never_met", "cut", "precise", "monotone")


def check_result(result: CapacityResult, bounds: tuple[CapacityBound, ...], folder: Path) -> list[LevelCheck]:
    """Checks one capacity.

    Args:
        result: What was found.
        bounds: What the SLOs of the certificate demand.
        folder: Where the request records are.

    Returns:
        One check per level and per end of the bracket; only the first problems where the result contradicts itself.
    """
    question = question_of(result, bounds)
    if question is None:
        why = "does not say where the search began and ended; measure again"
        return [LevelCheck(scenario=result.scenario, level="all", state="open", problem=why)]
    if result.search is not None and result.search.method != (method := method_of(result.unit)):
        why = f"was found by method {result.search.method}, and this version repeats method {method}"
        return [LevelCheck(scenario=result.scenario, level="all", state="open", problem=why)]
    if (result.confidence is None) != (result.unit is LoadUnit.SPEED):
        why = "states no confidence"
        if result.confidence is not None:
            why = f"states {result.confidence} confidence, which only a sample has"
        return [LevelCheck(scenario=result.scenario, level="confidence", state="open", problem=why)]
    steps = SearchSteps(question, folder)
    for level in result.levels:
        problem = _plan_problem(level, steps, result)
        if problem is None:
            try:
                steps.add(level)
            except _UNREADABLE as error:
                problem = f"cannot read {level.measurement.records}: {error}"
        if problem is not None:
            changed = [_check(result, one, found) for one in result.levels if (found := _file_problem(one, folder))]
            return changed or [_check(result, level, problem)]  # what follows from a changed file proves nothing
    bracket = steps.result(result.scenario, interrupted=result.interrupted)
    inner = [*_bracket_checks(result, bracket), *_files_left(result, folder)]
    if any(check.problem is not None for check in inner):
        return inner  # it contradicts itself, whatever the records say
    replay = _replay_check(result, folder)
    checks = [*(_check(result, level, level_problem(level, folder, replay)) for level in result.levels), *inner]
    if replay is not None:
        trace = LevelCheck(scenario=result.scenario, level="trace", state=replay.state, problem=replay.problem)
        checks.append(trace)
    return checks


def _replay_check(result: CapacityResult, folder: Path) -> ReplayCheck | None:
    trace = None if result.search is None else result.search.trace
    if trace is None or not result.levels:
        return None
    longest = max(result.levels, key=lambda level: level.measurement.arrived)
    try:
        rows = arrivals(read_records(folder / Path(longest.measurement.records or "").name))
        return ReplayCheck(trace, rows, longest.load)
    except _UNREADABLE:
        return ReplayCheck(trace, [], longest.load)  # the check of that level says so


def _check(result: CapacityResult, level: CapacityLevel, problem: str | None) -> LevelCheck:
    text = level.measurement.level.text
    return LevelCheck(scenario=result.scenario, level=text, state=level.decision.state, problem=problem)


def level_problem(level: CapacityLevel, folder: Path, replay: ReplayCheck | None = None) -> str | None:
    """Why a level does not follow from its records, or None if it does."""
    problem = _file_problem(level, folder)
    name = level.measurement.records
    if problem is not None or name is None:
        return problem
    try:
        records = read_records(folder / Path(name).name)
        measured = summarize(records, name=name)
        decision = decide(records, level.plan, level.decision.requests)
        other = None
        if replay is not None:
            other = replay.level_problem(arrivals(records), level.load, whole=decision.state == "certified")
    except _UNREADABLE as error:
        return f"cannot read {name}: {error}"
    if not _same(level.decision.model_dump(), decision.model_dump()):
        return f"the requests in {name} show {decision.state}, and not by the same evidence"
    stored = level.measurement.model_dump(exclude=_NOT_FROM_RECORDS)
    found = measured.model_dump(exclude=_NOT_FROM_RECORDS)
    for field in _LATER:
        if stored["self_check"][field] is None:
            found["self_check"][field] = None
    different = [field for field in stored if not _same(stored[field], found[field])]
    if different:
        return f"{', '.join(different)} of the level differ from {name}"
    return other


def _file_problem(level: CapacityLevel, folder: Path) -> str | None:
    """Why a level's records are not those that were measured, or None if they are."""
    name = level.measurement.records
    if name is None or level.sha256 is None:
        return "its request records were not kept"
    try:
        if digest(folder / Path(name).name) != level.sha256:
            return f"{name} was changed after the measurement"
    except OSError as error:
        return f"cannot read {name}: {error}"
    return None


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises ``OSError``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plan_problem(level: CapacityLevel, steps: SearchSteps, result: CapacityResult) -> str | None:
    """Why a level is not the one that the search takes next, or None if it is."""
    measured = level.measurement
    expected = load_level(result.unit, level.load)
    if measured.scenario != result.scenario or not _same(measured.level.model_dump(), expected.model_dump()):
        return f"its records are of {measured.scenario} at {measured.level.text}, not of this load"
    if any(level.measurement.records == other.measurement.records for other in steps.levels):
        return "its records are those of another level"
    step = steps.next_level(level.plan.seconds_left)
    if step is None:
        return "the search ends before this level"
    load, plan = step
    if not _same(float(load), level.load):
        return f"the search takes {load_text(result.unit, load)} here: a level is missing, or was changed"
    different = _differing(level.plan, plan)
    return f"is not tested as its place in the search demands: {different}" if different else None


def _differing(stored: LevelPlan, expected: LevelPlan) -> str:
    """The first field that differs, with both values."""
    for name, value in expected.model_dump().items():
        found = stored.model_dump()[name]
        if not _same(found, value):
            return f"{name} is {_short(found)}, not {_short(value)}"
    return ""


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_short, value)) or "nothing"
    if isinstance(value, Mapping) and "slo" in value:
        return f"{value['slo']} ({value['metric']}, {value['limit']:g}, {value['allowed']})"
    if isinstance(value, Mapping):
        return f"({', '.join(f'{name} {_short(one)}' for name, one in value.items())})"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _bracket_checks(stored: CapacityResult, found: CapacityResult) -> list[LevelCheck]:
    checks = []
    for name in _BRACKET:
        value = getattr(stored, name)
        true = getattr(found, name)
        if value in (None, True, False) and _same(value, true):
            continue
        problem = None if _same(value, true) else f"{name} is {value}, and by the levels {true}"
        text = load_text(stored.unit, value) if isinstance(value, float) else name
        checks.append(LevelCheck(scenario=stored.scenario, level=text, state=name, problem=problem))
    return checks


def _files_left(result: CapacityResult, folder: Path) -> list[LevelCheck]:
    """Files of request records beside those of the levels: a level that was left out."""
    names = [Path(level.measurement.records or "").name for level in result.levels]
    prefixes = {name.rpartition("-")[0] for name in names}
    files = sorted(path.name for prefix in prefixes for path in folder.glob(f"{prefix}-*.parquet"))
    problem = "belongs to no level: one was removed"
    return [
        LevelCheck(scenario=result.scenario, level=name, state="open", problem=problem)
        for name in files
        if name not in names
    ]


def _same(a: Any, b: Any) -> bool:
    """Whether two dumped values are equal, up to floating-point arithmetic."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, Sequence) and isinstance(b, Sequence) and not isinstance(a, str):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return isclose(a, b, rel_tol=_TOLERANCE, abs_tol=1e-12) or (a != a and b != b)
    return type(a) is type(b) and bool(a == b)
