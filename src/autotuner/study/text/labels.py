"""Labels of workers, such as ``gpu=h100``."""

import re
from collections.abc import Iterable, Mapping

from autotuner.invalid_value import InvalidValueError

_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
_MOST = 20


def parse_labels(texts: Iterable[str]) -> dict[str, str]:
    """Labels written as ``name=value``. Raises :class:`InvalidValueError`."""
    found = dict[str, str]()
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            raise InvalidValueError(f"{text} is not a label", remedy="write name=value, e.g. gpu=h100")
        if found.get(name, value) != value:
            raise InvalidValueError(f"has two values for {name}", remedy="remove one")
        found[name] = value
    return checked_labels(found)


def checked_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels, if names and values have the right form. Raises :class:`InvalidValueError`."""
    if len(labels) > _MOST:
        raise InvalidValueError(f"has more than {_MOST} labels")
    for name, value in labels.items():
        for part in (name, value):
            if not _PART.fullmatch(part):
                remedy = "use letters, digits, '.', '_', '/' and '-', at most 63, a letter or digit first and last"
                raise InvalidValueError(f"{name}={value} is not a label", remedy=remedy)
    return dict(labels)
