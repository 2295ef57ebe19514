"""Names of the parts of a load that have results of their own: ``part 1``, ``stage 2``, ``first turns``."""

import re
from collections.abc import Sequence

from autotuner.invalid_value import InvalidValueError
from autotuner.study.measurement import OF_SLICES
from autotuner.study.metric import Metric
from autotuner.study.text.mixes import is_name
from autotuner.study.workload import LoadLevel, MixPart, Scenario, Stages

TURNS = ("first turns", "later turns")
_NAME = re.compile(r"(?:part|stage) [1-9][0-9]{0,3}|(?:first|later) turns")
_OF_TURNS = ("ttft_first_turn", "ttft_later_turns")


def part_names(mix: Sequence[MixPart]) -> list[str]:
    """The names of the parts of a mix: their own, or by their places from 1."""
    return [part.name or f"part {index + 1}" for index, part in enumerate(mix)]


def stage_name(index: int) -> str:
    """The name of a stage of a load, by its place from 0."""
    return f"stage {index + 1}"


def slice_names(scenario: Scenario, level: LoadLevel) -> tuple[str, ...]:
    """The parts that a window of this scenario at this load level has."""
    stages = map(stage_name, range(len(level.stages) if isinstance(level, Stages) else 0))
    return (*part_names(scenario.mix), *stages, *(TURNS if scenario.conversations else ()))


def parse_slice(text: str, metric: Metric) -> str:
    """The canonical name of a part that an SLO is about. Raises ``ValueError``."""
    name = " ".join(text.split())
    if not (_NAME.fullmatch(name) or is_name(name)):
        why = f'"{name}" is not a part of a load'
        raise InvalidValueError(why, remedy="write e.g. part 1, stage 2, later turns or the name of a part")
    if metric.name in _OF_TURNS or not (metric.distribution or metric.name in OF_SLICES):
        raise InvalidValueError(f"{metric.name} is not measured for a part of a load", remedy=f'remove "of {name}"')
    return name
