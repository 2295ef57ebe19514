"""Errors that users see, with what happened, the remedy and further facts as fields.

All of them derive from :class:`AutotunerError`. ``autotuner.cli.exit_codes`` maps them to exit codes.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from autotuner.invalid_value import InvalidValueError
from autotuner.plain_text import blank_unprintable, shortened
from autotuner.secrets import clean_text, looks_secret

Report = TypeVar("Report")

MAX_SHOWN = 20
"""Problems that are shown; of further ones only the number."""
_LONGEST = {"where": 300, "why": 1000, "remedy": 2000, "value": 200}
"""Maximum length of a problem's parts, so that a key of a million characters is not repeated in full."""
HIDDEN_VALUE = "(hidden)"
"""Replaces a value that may be a secret in a problem."""


_CLEANED = 10_000
"""Characters that are searched for secrets; the rest is cut off in any case."""


def _shown(text: str, info: ValidationInfo) -> str:
    return shortened(blank_unprintable(clean_text(text[:_CLEANED])), _LONGEST[str(info.field_name)])


def hides_value(where: str) -> bool:
    """Whether messages must not repeat the value at this path of a file.

    True if it has a secret's name or is a variable of a server's environment.
    """
    return ".env." in where or looks_secret(re.sub(r"\[\d+\]$", "", where).rpartition(".")[2])


class Problem(BaseModel):
    """One fault of the user's input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    where: str
    """Place in the file, e.g. ``study.yaml:12 parameters.threads[1]``, or an option of the command line."""
    value: str = ""
    """The offending value as written, without secrets; empty if something is missing."""
    why: str
    """What is wrong."""
    remedy: str = ""
    """What to do about it; empty if ``why`` says it all."""

    @field_validator("where", "why", "remedy")
    @classmethod
    def _without_secrets(cls, text: str, info: ValidationInfo) -> str:
        return _shown(text, info)

    @field_validator("value")
    @classmethod
    def _without_secret(cls, value: str, info: ValidationInfo) -> str:
        if value and hides_value(info.data.get("where", "")):
            return HIDDEN_VALUE
        return _shown(value, info)

    @classmethod
    def refused(cls, where: str, error: Exception, *, value: str = "", remedy: str = "") -> Self:
        """The problem of a value that a validator rejected.

        Args:
            where: Place of the value.
            error: What the validator raised.
            value: The value.
            remedy: Used if the error has no remedy of its own.
        """
        if isinstance(error, InvalidValueError):
            return cls(where=where, value=value, why=error.why, remedy=error.remedy or remedy)
        return cls(where=where, value=value, why=str(error), remedy=remedy)

    @property
    def message(self) -> str:
        """The problem without its remedy, on one line."""
        got = f" = {self.value}" if self.value else ""
        return f"{self.where}{got}: {self.why}"

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class AutotunerError(Exception):
    """Base class of all errors that are shown to users without a traceback.

    ``str(error)`` is ``message; remedy``, for display only; programs should use the fields.
    """

    def __init__(self, message: str, *, remedy: str = "", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message: str = message
        """What happened, and where."""
        self.remedy: str = remedy
        """What to do about it; empty if there is no general advice."""
        self.details: Mapping[str, Any] = dict(details or {})
        """Further facts by name, as plain data. Each class documents its own."""

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class UsageError(AutotunerError):
    """The input is wrong; nothing was launched.

    ``message`` has one line per problem; ``remedy`` is empty if there are several problems.
    """

    def __init__(self, problems: Iterable[Problem] | Problem | str) -> None:
        if isinstance(problems, str):
            problems = Problem(where="input", why=problems)
        if isinstance(problems, Problem):
            problems = (problems,)
        self.problems: tuple[Problem, ...] = tuple(problems)
        """One problem per fault; after the first hundred, placeholders."""
        remedy = self.problems[0].remedy if len(self.problems) == 1 else ""
        super().__init__(self._lines(problem.message for problem in self.problems), remedy=remedy)

    @classmethod
    def at(cls, where: str, why: str, *, value: str = "", remedy: str = "") -> Self:
        """The error of a single :class:`Problem`."""
        return cls(Problem(where=where, value=value, why=why, remedy=remedy))

    def __str__(self) -> str:
        return self._lines(map(str, self.problems))

    def _lines(self, texts: Iterable[str]) -> str:
        lines = list(islice(texts, MAX_SHOWN))
        if (rest := len(self.problems) - MAX_SHOWN) > 0:
            lines.append(f"and {rest} more")
        return "\n".join(lines)


class NotFoundError(UsageError):
    """The input names something that does not exist, such as a study that is not stored."""


class EnvironmentFaultError(AutotunerError):
    """The machine, the deployment target, the store or the installation is at fault, not the input."""


class MissingExtraError(EnvironmentFaultError):
    """An optional dependency is not installed. ``details``: ``extra`` (its name)."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f'{what} needs the "{extra}" extra',
            remedy=f"pip install 'llm-inference-autotuner[{extra}]'",
            details={"extra": extra},
        )


class StudyBusyError(AutotunerError):
    """Another process runs the study. ``details``: ``study`` (its name)."""

    @classmethod
    def running(cls, study: str, remedy: str, *, by: str = "") -> Self:
        """The study is running, in the process ``by`` (such as ``process 12 on host``) if that is known."""
        where = f" in {by}" if by else ""
        return cls(f"study {study} is already running{where}", remedy=remedy, details={"study": study})

    @classmethod
    def taken_over(cls, study: str) -> Self:
        """This process was taken for dead after missing its heartbeats, and another one took over the study."""
        why = f"this run was silent for a while, and another process took over what it held of study {study}"
        return cls(why, remedy="resume with: autotuner run", details={"study": study})


class StoppedEarlyError(AutotunerError, Generic[Report]):
    """An interrupt or an error ended a measurement that already has results. Message and remedy are the error's."""

    def __init__(self, report: Report, error: AutotunerError | None = None) -> None:
        self.report = report
        """The results so far."""
        self.error = error
        """The error; None for an interrupt."""
        if error is None:
            super().__init__("interrupted")
        else:
            super().__init__(error.message, remedy=error.remedy, details=error.details)

    def __str__(self) -> str:
        return str(self.error or self.message)


def did_you_mean(wrong: str, known: Sequence[str]) -> str:
    """A remedy for a misspelled name: the nearest known name, or all known names if none is near."""
    plain = wrong.replace("_", "-")
    names = {name.replace("_", "-"): name for name in known}
    near = get_close_matches(plain, names, n=1, cutoff=0.6)
    # A first word, such as e2e for e2e_latency, resembles the whole name too little.
    near = near or sorted((name for name in names if plain and name.startswith(f"{plain}-")), key=len)
    if near:
        return f'did you mean "{names[near[0]]}"?'
    return f"known: {', '.join(sorted(known))}" if known else ""
