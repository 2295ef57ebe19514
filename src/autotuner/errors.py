"""What can be wrong, said in one line each: where, which value, why, and what to do about it.

Every exception that is meant for a person derives from :class:`AutotunerError` and knows its exit code.
"""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from enum import IntEnum

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from autotuner.secrets import clean_text, looks_secret

MAX_SHOWN = 20
"""Problems that are shown; who has more corrects these first."""
_LONGEST = {"where": 300, "why": 1000, "remedy": 2000, "value": 200}
"""Characters of a problem's parts. A key of a million characters is not repeated in full."""
HIDDEN_VALUE = "(hidden)"
"""Stands in a problem for a value that may be a secret."""


_CLEANED = 10_000
"""Characters that are looked through for secrets; the rest is cut off in any case."""


def _shortened(text: str, info: ValidationInfo) -> str:
    longest = _LONGEST[str(info.field_name)]
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def hides_value(where: str) -> bool:
    """Whether the value at this path of a file is not repeated in messages: it has a secret's name, or is a variable of
    a server's environment."""
    return ".env." in where or looks_secret(re.sub(r"\[\d+\]$", "", where).rpartition(".")[2])


class ExitCode(IntEnum):
    """The exit codes of the command line; documented, and never reused for another meaning."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INFEASIBLE = 3
    ENVIRONMENT = 4
    INTERRUPTED = 130


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
        return _shortened(clean_text(text[:_CLEANED]), info)

    @field_validator("value")
    @classmethod
    def _shown(cls, value: str, info: ValidationInfo) -> str:
        if value and hides_value(info.data.get("where", "")):
            return HIDDEN_VALUE
        return _shortened(clean_text(value[:_CLEANED]), info)

    def __str__(self) -> str:
        got = f" = {self.value}" if self.value else ""
        cure = f"; {self.remedy}" if self.remedy else ""
        return f"{self.where}{got}: {self.why}{cure}"


class AutotunerError(Exception):
    """Base of all errors that are shown to a person as lines, without a traceback."""

    exit_code: ExitCode = ExitCode.FAILED


class UsageError(AutotunerError):
    """The input is wrong; nothing was launched. Carries one :class:`Problem` per fault."""

    exit_code = ExitCode.USAGE

    def __init__(self, problems: Iterable[Problem] | Problem | str) -> None:
        if isinstance(problems, str):
            problems = Problem(where="input", why=problems)
        if isinstance(problems, Problem):
            problems = (problems,)
        self.problems: tuple[Problem, ...] = tuple(problems)
        """All of them; of very many, the last ones are mere placeholders."""
        lines = [str(problem) for problem in self.problems[:MAX_SHOWN]]
        if rest := len(self.problems) - MAX_SHOWN:
            lines += [f"and {rest} more"] if rest > 0 else []
        super().__init__("\n".join(lines))


class MissingExtraError(AutotunerError):
    """An optional dependency is not installed."""

    exit_code = ExitCode.ENVIRONMENT

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the \"{extra}\" extra: pip install 'llm-inference-autotuner[{extra}]'")


def did_you_mean(wrong: str, known: Sequence[str]) -> str:
    """A remedy for a misspelt name: the nearest known one, else all of them."""
    near = get_close_matches(wrong.replace("_", "-"), [k.replace("_", "-") for k in known], n=1, cutoff=0.6)
    if near:
        original = next(k for k in known if k.replace("_", "-") == near[0])
        return f'did you mean "{original}"?'
    return f"known: {', '.join(sorted(known))}" if known else ""
