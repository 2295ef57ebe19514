"""Least duration of measurement windows."""

from collections.abc import Sequence
from contextlib import suppress

from autotuner.benchmarks.measuring.traces.trace_replay import window_s
from autotuner.errors import UsageError
from autotuner.study.search.cut import Left
from autotuner.study.spec import StudySpec
from autotuner.study.workload import CapacityLoad, LoadLevel, Scenario, Stages, TraceSpeed


def window_length_s(spec: StudySpec, scenario: Scenario, level: LoadLevel, *, extended: bool = False) -> float:
    """Seconds of one window without warm-up."""
    if isinstance(level, CapacityLoad):
        return level.max_duration_s
    if isinstance(level, Stages):
        return level.duration_s
    if scenario.trace is not None and isinstance(level, TraceSpeed):
        with suppress(UsageError):  # the preflight says what is wrong with the file
            return window_s(scenario.trace, level.speed)
    return spec.workload.longest_s if extended else spec.workload.duration_s


def windows_length_s(spec: StudySpec, left: Sequence[Left]) -> float:
    """Least seconds that the windows of some levels take, warm-up included."""
    lengths = {
        (scenario.text, level.text): window_length_s(spec, scenario, level)
        for scenario in spec.workload.scenarios
        for level in spec.workload.levels
    }
    return sum(spec.workload.warmup_s + lengths[at.scenario, at.level] for at in left)
