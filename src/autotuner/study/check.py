"""Results of preflight checks and diagnoses."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Self

from pydantic import Field

from autotuner.errors import AutotunerError, EnvironmentFaultError, Problem, UsageError
from autotuner.study.base import FrozenModel


class CheckStatus(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(FrozenModel):
    """One check of the environment."""

    name: str
    status: CheckStatus
    detail: str = ""
    remedy: str = ""
    problem: Problem | None = Field(default=None, exclude=True)
    """What is wrong with the content of an input file; None if the machine is at fault, which may lack the file."""

    @classmethod
    def ok(cls, name: str, detail: str = "") -> Self:
        """The check passed."""
        return cls(name=name, status=CheckStatus.OK, detail=detail)

    @classmethod
    def warn(cls, name: str, detail: str, *, remedy: str = "") -> Self:
        """Nothing stops the study, but the result may suffer."""
        return cls(name=name, status=CheckStatus.WARN, detail=detail, remedy=remedy)

    @classmethod
    def fail(cls, name: str, detail: str, *, remedy: str = "") -> Self:
        """Nothing is launched until this is corrected."""
        return cls(name=name, status=CheckStatus.FAIL, detail=detail, remedy=remedy)


def worst(checks: list[Check]) -> CheckStatus:
    """The worst status among the checks; OK if there are none."""
    order = [CheckStatus.OK, CheckStatus.WARN, CheckStatus.FAIL]
    return max((c.status for c in checks), key=order.index, default=CheckStatus.OK)


class PreflightError(EnvironmentFaultError):
    """The environment is not ready; nothing was launched.

    ``message`` has one line per failed check; ``remedy`` is empty if several failed.
    """

    def __init__(self, failed: Iterable[Check]) -> None:
        self.checks: tuple[Check, ...] = tuple(failed)
        """The checks that failed."""
        remedy = self.checks[0].remedy if len(self.checks) == 1 else ""
        super().__init__("\n".join(f"{c.name}: {c.detail}" for c in self.checks), remedy=remedy)

    def __str__(self) -> str:
        return "\n".join(f"{c.name}: {c.detail}" + (f"; {c.remedy}" if c.remedy else "") for c in self.checks)


def preflight_error(failed: Iterable[Check]) -> AutotunerError:
    """The error of checks that failed: a ``UsageError`` if nothing but the content of input files is wrong."""
    checks = tuple(failed)
    problems = [check.problem for check in checks if check.problem is not None]
    return UsageError(problems) if len(problems) == len(checks) else PreflightError(checks)
