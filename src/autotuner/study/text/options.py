"""Options after a scenario: ``D(128,48) prefixes=50 prefix_tokens=1000``."""

import re
from collections.abc import Container, Iterable, Sequence
from typing import Any

from autotuner.errors import did_you_mean
from autotuner.invalid_value import InvalidValueError

_OPTION = re.compile(r"\s+([A-Za-z_]+)\s*=\s*(\S+)$")


def split_options(text: str, names: Container[str] | None = None) -> tuple[str, dict[str, str]]:
    """What stands before the options, and the options as written.

    Args:
        text: The whole text.
        names: Known options: at any other, what stands before them ends. None: all are options.

    Raises:
        ValueError: An option is given twice.
    """
    rest = text.strip()
    found: dict[str, str] = {}
    while (match := _OPTION.search(rest)) is not None:
        name, value = match.groups()
        if names is not None and name not in names:
            break
        if name in found:
            raise InvalidValueError(f"has {name} twice", remedy="remove one")
        found[name] = value
        rest = rest[: match.start()]
    return rest.strip(), found


def check_names(scenario: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Raises ``ValueError`` for an option that a kind of scenario, such as ``I(..)``, does not have."""
    for name in given:
        if name not in known:
            remedy = did_you_mean(name, list(known))
            raise InvalidValueError(f'{scenario} has no option "{name}"', remedy=remedy)


def whole_number(value: Any, most: int) -> int | None:
    """A whole number from 1 to ``most``, as written or as a number; None for anything else."""
    if isinstance(value, bool) or re.fullmatch(r"[0-9]{1,9}", str(value)) is None:
        return None
    return int(value) if 1 <= int(value) <= most else None


def path_text(path: str) -> str:
    """A file's path or a Hub ID, rejected if it is longer than file systems allow."""
    if len(path.encode(errors="replace")) > 4095 or any(len(p.encode(errors="replace")) > 255 for p in path.split("/")):
        raise InvalidValueError("longer than a path can be", remedy="correct the path")
    return path
