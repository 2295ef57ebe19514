"""One line of a preflight or a diagnosis."""

from enum import StrEnum
from typing import Self

from autotuner.study.base import Noun


class CheckStatus(StrEnum):
    """Outcome of a check of the environment."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(Noun):
    """What was checked, how it turned out, and what to do when it did not pass."""

    name: str
    status: CheckStatus
    detail: str = ""
    remedy: str = ""

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
