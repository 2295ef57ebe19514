"""The units of a load, in one table: where a search begins, which loads exist, and how one is measured and written."""

from collections.abc import Callable
from dataclasses import dataclass

from autotuner.study.base import number_text
from autotuner.study.workload import Concurrency, LoadLevel, LoadUnit, RequestRate, TraceSpeed


@dataclass(frozen=True)
class LoadKind:
    """What is specific to loads of one unit."""

    level: Callable[[float], LoadLevel]
    """The level that measures a load."""
    suffix: str
    """What follows the number."""
    axis: str
    """What the number counts, as the title of an axis or a column."""
    first: float
    """The load that a search begins with if nothing is known."""
    lowest: float = 0.0
    """The lowest load that a search tries, unless the user limits it."""
    whole: bool = False
    """Whether loads are whole numbers."""


LOAD_KINDS = {
    LoadUnit.RATE: LoadKind(lambda load: RequestRate(rate=load), " requests/s", "requests/s", first=1.0),
    LoadUnit.CONCURRENCY: LoadKind(
        lambda load: Concurrency(in_flight=round(load)),
        " in flight",
        "requests in flight",
        first=4.0,
        lowest=1.0,
        whole=True,
    ),
    LoadUnit.SPEED: LoadKind(lambda load: TraceSpeed(speed=load), "x speed", "times the recorded speed", first=1.0),
}


def load_level(unit: LoadUnit, load: float) -> LoadLevel:
    """The load level of a load."""
    return LOAD_KINDS[unit].level(load)


def load_text(unit: LoadUnit, load: float) -> str:
    """``12.4 requests/s``, ``32 in flight`` or ``1.5x speed``."""
    kind = LOAD_KINDS[unit]
    number = f"{load:.0f}" if kind.whole else number_text(float(f"{load:.4g}"))
    return f"{number}{kind.suffix}"
