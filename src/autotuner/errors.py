"""The errors that users see. Each carries what happened, what to do about it, and further facts as fields.

All of them derive from :class:`AutotunerError`. Which exit code stands for which is the command line's business:
``autotuner.cli.exit_codes``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from autotuner.invalid_value import InvalidValueError
from autotuner.plain_text import blank_unprintable, shortened
from autotuner.secrets import clean_text, looks_secret

MAX_SHOWN = 20
"""Problems that are shown; who has more corrects these first."""
_LONGEST = {"where": 300, "why": 1000, "remedy": 2000, "value": 200}
"""Characters of a problem's parts. A key of a million characters is not repeated in full."""
HIDDEN_VALUE = "(hidden)"
"""Stands in a problem for a value that may be a secret."""


_CLEANED = 10_000
"""Characters that are searched for secrets; the rest is cut off in any case."""


def _shown(text: str, info: ValidationInfo) -> str:
    return shortened(blank_unprintable(clean_text(text[:_CLEANED])), _LONGEST[str(info.field_name)])


def hides_value(where: str) -> bool:
    """Whether the value at this path of a file is not repeated in messages: it has a secret's name, or is a variable of
    a server's environment."""
    return ".env." in where or looks_secret(re.sub(r"\[\d+\]$", "", where).rpartition(".")[2])


class Problem(BaseModel):
    """One thing that is wrong in what the user gave."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    where: str
    """Path in the file, e.g. ``study.yaml:12 parameters.threads[1]``."""
    value: str = ""
    """The offending value, as written; empty where something is missing. Never a secret."""
    why: str
    remedy: str = ""

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
        """What a validator refused; its own remedy, where it has one, takes precedence over ``remedy``."""
        if isinstance(error, InvalidValueError):
            return cls(where=where, value=value, why=error.why, remedy=error.remedy or remedy)
        return cls(where=where, value=value, why=str(error), remedy=remedy)

    @property
    def message(self) -> str:
        """The problem without its remedy, in one line."""
        got = f" = {self.value}" if self.value else ""
        return f"{self.where}{got}: {self.why}"

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class AutotunerError(Exception):
    """Base of all errors that are shown to a user as lines, without a traceback.

    ``str(error)`` is ``message; remedy``, for display only; programs read the fields.
    """

    def __init__(self, message: str, *, remedy: str = "", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message: str = message
        """What happened, and where."""
        self.remedy: str = remedy
        """What to do about it; empty where nothing general helps."""
        self.details: Mapping[str, Any] = dict(details or {})
        """Further facts by name, as plain data; which ones depends on the class."""

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class UsageError(AutotunerError):
    """The input is wrong; nothing was launched. Carries one :class:`Problem` per fault.

    ``message`` has a line per problem; ``remedy`` is that of a single problem, and empty where there are several.
    """

    def __init__(self, problems: Iterable[Problem] | Problem | str) -> None:
        if isinstance(problems, str):
            problems = Problem(where="input", why=problems)
        if isinstance(problems, Problem):
            problems = (problems,)
        self.problems: tuple[Problem, ...] = tuple(problems)
        """All of them; of very many, the last ones are mere placeholders."""
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


class EnvironmentFaultError(AutotunerError):
    """The machine, the target, the store or the installation is at fault, not the input."""


class MissingExtraError(EnvironmentFaultError):
    """An optional dependency is not installed. ``details``: ``extra``, its name."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f'{what} needs the "{extra}" extra',
            remedy=f"pip install 'llm-inference-autotuner[{extra}]'",
            details={"extra": extra},
        )


class StudyBusyError(AutotunerError):
    """Another living process runs this study. ``details``: ``study``, its name."""

    @classmethod
    def running(cls, study: str, remedy: str, *, by: str = "") -> Self:
        """The study is run by ``by``, such as ``process 12 on host``, or by a process that is not known."""
        return cls(f"study {study} is being run" + (f" by {by}" if by else ""), remedy=remedy, details={"study": study})

    @classmethod
    def taken_over(cls, study: str) -> Self:
        """This process sent no heartbeat for so long that another one took over what it held."""
        why = f"this run was silent for a while, and another process took over what it held of study {study}"
        return cls(why, remedy="resume with: autotuner run", details={"study": study})


def did_you_mean(wrong: str, known: Sequence[str]) -> str:
    """A remedy for a misspelt name: the nearest known one, else all of them."""
    near = get_close_matches(wrong.replace("_", "-"), [k.replace("_", "-") for k in known], n=1, cutoff=0.6)
    if near:
        original = next(k for k in known if k.replace("_", "-") == near[0])
        return f'did you mean "{original}"?'
    return f"known: {', '.join(sorted(known))}" if known else ""
