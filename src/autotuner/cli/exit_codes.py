"""Exit codes of the command line, and the errors and endings that lead to them."""

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from autotuner.errors import AutotunerError, EnvironmentFaultError, StoppedEarlyError, UsageError

if TYPE_CHECKING:
    from autotuner import Ending


class ExitCode(IntEnum):
    """Documented, and never reused for another meaning. The lower-case name is the ``kind`` of an error in JSON."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INFEASIBLE = 3
    ENVIRONMENT = 4
    INTERRUPTED = 130


_OF_ERRORS = (
    (UsageError, ExitCode.USAGE),
    (EnvironmentFaultError, ExitCode.ENVIRONMENT),
    (AutotunerError, ExitCode.FAILED),
)
"""The first class that matches decides."""

_OF_ENDINGS = {
    "nothing_tried": ExitCode.FAILED,
    "not_decided": ExitCode.FAILED,
    "winner_did_not_hold_up": ExitCode.FAILED,
    "nothing_feasible": ExitCode.INFEASIBLE,
    "nothing_measured": ExitCode.INFEASIBLE,
    "not_compared_yet": ExitCode.FAILED,
    "stopped": ExitCode.FAILED,
    "interrupted": ExitCode.INTERRUPTED,
    "environment_fault": ExitCode.ENVIRONMENT,
    "failed": ExitCode.FAILED,
}
"""By stored value, so that this module stays cheap to import. All other endings are answers."""


def of_error(error: AutotunerError) -> ExitCode:
    """Returns the exit code of a command that ends with this error."""
    return next(code for kind, code in _OF_ERRORS if isinstance(error, kind))


def of_stop(stopped: StoppedEarlyError[Any]) -> ExitCode:
    """Returns the exit code of a command that was interrupted, or ended by an error, after a part of its work."""
    return ExitCode.INTERRUPTED if stopped.error is None else of_error(stopped.error)


def of_ending(ending: "Ending") -> ExitCode:
    """Returns the exit code of ``run`` for a study that ended this way."""
    return _OF_ENDINGS.get(ending.value, ExitCode.OK)
