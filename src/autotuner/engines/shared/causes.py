"""Tables of log lines that reveal why a server exited; every engine's failure causes are built from them."""

import re
from collections.abc import Iterable
from signal import Signals
from typing import NamedTuple

from autotuner.study.failure import Failure, FailureCause
from autotuner.study.signals import signal_of


class Line(NamedTuple):
    """A log line that reveals a cause. Message and remedy may refer to groups of the pattern by number (``{1}``)."""

    pattern: re.Pattern[str]
    cause: FailureCause
    message: str
    remedy: str
    late: bool = False
    """Whether the line also counts after the server became ready. Most lines do not: a request that is echoed in the
    log must not decide the cause."""


def line(pattern: str, cause: FailureCause, message: str, remedy: str, *, late: bool = False) -> Line:
    """A row of a table. The pattern ignores case; ``^`` and ``$`` match at line ends."""
    return Line(re.compile(pattern, re.IGNORECASE | re.MULTILINE), cause, message, remedy, late)


def first_match(lines: Iterable[Line], exit_code: int | None, log_tail: str, *, ready: bool) -> Failure | None:
    """The failure of the first row that matches the log. Tables list specific rows before general ones."""
    for row in lines:
        match = row.pattern.search(log_tail) if row.late or not ready else None
        if match:
            groups = [_one_line(text) for text in (match[0], *match.groups(""))]
            message = _filled(row.message, groups)
            remedy = _filled(row.remedy, groups)
            return Failure(cause=row.cause, message=message, remedy=remedy, exit_code=exit_code, log_tail=log_tail)
    return None


def _filled(text: str, groups: list[str]) -> str:
    return re.sub(r"\{(\d)\}", lambda m: groups[int(m[1])], text)


def _one_line(text: str) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= 300 else joined[:299] + "…"


def ended_by(exit_code: int | None) -> str | None:
    """Name of the signal that ended a process; None if it exited by itself."""
    number = signal_of(exit_code)
    if number is None:
        return None
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"
