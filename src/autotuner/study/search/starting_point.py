"""Configurations that an engine's own documentation recommends."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from autotuner.study.base import FrozenModel, Value
from autotuner.study.configuration import Configuration

Aim = Literal["throughput", "ttft", "tpot"]
"""What a recommendation is for: many tokens, a short time to the first one, or a short time for each further one."""


class StartingPoint(FrozenModel):
    """Values that are known to be good for an aim; everything else keeps its default."""

    values: Mapping[str, Value]
    """By canonical name of the flag."""
    aim: Aim | None = None
    """What the values are good for; None if they suit any objective."""
    source: str
    """Where this is recommended, a URL."""


class Start(NamedTuple):
    """A starting point as a configuration of a study."""

    configuration: Configuration
    source: str
