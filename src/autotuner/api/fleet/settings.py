"""Settings of a worker."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from autotuner.errors import Problem, UsageError
from autotuner.invalid_value import InvalidValueError
from autotuner.study.text.labels import parse_labels
from autotuner.tuning.run_liveness import LEASE_S

DRAIN_S = 20.0
"""How long running trials may go on after a request to end; Kubernetes kills after 30 s."""
_MOST_STUDIES = 64
_LEASES_S = (0.5, 600.0)


@dataclass(frozen=True)
class WorkerSettings:
    """How a worker works."""

    at_most: int = 1
    """Studies that it runs at the same time at most."""
    labels: Mapping[str, str] = field(default_factory=dict)
    lease_s: float = LEASE_S
    """Seconds without a sign of life after which others take over its studies."""
    drain_s: float = DRAIN_S
    """Seconds for which running trials may go on after the first request to end."""
    verbose: int = 0
    """For the log of the child processes, as is ``log_file``."""
    log_file: str = ""


def worker_settings(
    *,
    at_most: int,
    labels: Iterable[str],
    lease_s: float = LEASE_S,
    drain_s: float = DRAIN_S,
    verbose: int = 0,
    log_file: str = "",
) -> WorkerSettings:
    """The settings, checked; labels are given as ``name=value``. Raises ``UsageError``."""
    try:
        parsed = parse_labels(labels)
    except InvalidValueError as error:
        raise UsageError(Problem.refused("--label", error)) from None
    if not 1 <= at_most <= _MOST_STUDIES:
        raise UsageError.at("--at-most", "is out of range", value=str(at_most), remedy=f"use 1 to {_MOST_STUDIES}")
    if not _LEASES_S[0] <= lease_s <= _LEASES_S[1]:
        remedy = f"use {_LEASES_S[0]:g} to {_LEASES_S[1]:g} seconds"
        raise UsageError.at("--lease", "is out of range", value=f"{lease_s:g}", remedy=remedy)
    if drain_s < 0:
        raise UsageError.at("--drain", "is negative", value=f"{drain_s:g}", remedy="0 ends running trials at once")
    return WorkerSettings(at_most, parsed, lease_s, drain_s, verbose, log_file)
