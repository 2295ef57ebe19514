"""Secrets in nested data: studies, settings, command lines."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from autotuner.secrets.forms import credentials_in, secrets_in_text
from autotuner.secrets.names import REFERRING, hides, looks_secret

SHORTEST_INHERITED = 8
"""Shorter values of the tuner's own environment, and shorter lines of a key, are not searched for in other text: they
were not chosen as secrets and may be common words."""


def secrets_in(data: Any) -> Iterator[str]:
    """All secret values in nested data, as text.

    Parts that may appear alone elsewhere come as well: of ``Bearer abc`` also ``abc``, of a URL the password, of a key
    of several lines each line.
    """
    for value in _found(data, ()):
        yield value
        for line in value.splitlines()[1:-1] if "\n" in value.strip() else ():
            if len(line.strip()) >= SHORTEST_INHERITED:
                yield line.strip()


def _found(data: Any, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(data, BaseModel):
        data = data.model_dump()
    if isinstance(data, Mapping):
        for key, value in data.items():
            below = (*path, str(key))
            listed = value if isinstance(value, list | tuple) else (value,)
            for item in listed:
                if not REFERRING & set(path) and hides(key, item):
                    yield str(item)
                    yield from credentials_in(str(item))
                else:
                    yield from _found(item, below)
    elif isinstance(data, list | tuple):
        for item, flagged in flagged_items(data):
            if flagged:
                yield item
            else:
                yield from _found(item, path)
    elif isinstance(data, str):
        yield from secrets_in_text(data)


def flagged_items(items: Iterable[Any]) -> Iterator[tuple[Any, bool]]:
    """Items of a command line, each with whether it is the value of the secret flag in front of it."""
    flag = False
    for item in items:
        text = isinstance(item, str)
        yield item, flag and text and not item.startswith(("-", "$"))
        flag = text and re.fullmatch(r"--?[A-Za-z][\w.-]*", item) is not None and looks_secret(item)
