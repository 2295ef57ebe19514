"""What the tests of all engines share: per engine, values that it refuses or accepts, and logs with their causes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from autotuner.plugins.engine import Engine
from autotuner.study.base import Value
from autotuner.study.failure import FailureCause
from autotuner.study.launch import Hardware


def machine(gpu: str) -> Hardware:
    """A machine with eight GPUs of that name."""
    return Hardware(cpus=8, memory_gb=64.0, gpus=8, gpu_memory_gb=80.0, gpu_name=gpu)


H100 = machine("NVIDIA H100 80GB HBM3")


class Refused(NamedTuple):
    """Values that :meth:`Engine.check` reports as exactly one problem."""

    values: Mapping[str, Value]
    where: str
    facts: tuple[str, ...] = ()
    """Numbers and flag names that the problem has to mention."""


class Unsupported(NamedTuple):
    """Values that a GPU cannot run."""

    gpu: str
    values: Mapping[str, Value]
    where: str
    needs: str = ""
    """Compute capability that the problem has to mention."""


class Exited(NamedTuple):
    """How a server exited, and the cause that :meth:`Engine.explain` has to find."""

    exit_code: int
    log: str
    ready: bool
    cause: FailureCause
    facts: tuple[str, ...] = ()
    """Parts of the log and numbers that the message has to mention."""


@dataclass(frozen=True)
class EngineCases:
    """The cases of one engine."""

    engine: Engine
    hardware: Hardware = H100
    refused: tuple[Refused, ...] = ()
    accepted: tuple[Mapping[str, Value], ...] = ()
    unsupported: tuple[Unsupported, ...] = ()
    exited: tuple[Exited, ...] = ()
    gpus: tuple[tuple[Mapping[str, Value], int], ...] = ()
    """Values and the number of GPUs that they use."""
    secrets: tuple[str, ...] = ()
    """Flags that must not be on a command line."""
    misspelled: tuple[str, str] | None = None
    """A flag that is not in the catalog, and the one that it resembles."""
