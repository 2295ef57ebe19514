"""Options behind a scenario: ``D(128,48) prefixes=50 prefix_tokens=1000``."""

import re
from collections.abc import Container

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
