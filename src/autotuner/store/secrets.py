"""Secrets of a study file stay out of the database: their values are blotted out of everything that is stored.

A run reads its study file again each time, so nothing but the display needs them.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from autotuner.study.metric import METRICS

HIDDEN = "***"
SHORTEST = 4
"""Shorter values are blotted out where they stand, but not searched for in other text."""

_WORDS = {"key", "apikey", "token", "secret", "password", "passwd", "authorization", "credential", "credentials"}
_ABOUT = {"env", "file", "path", "source", "ms", "id", "count", "type"}
"""A last word that says: not the secret itself, something about it."""
_SCHEME = re.compile(r"(?:Bearer|Basic|Token)\s+(\S+)", re.IGNORECASE)


def looks_secret(key: str) -> bool:
    """Whether a key's value is a secret by its name: ``HF_TOKEN``, ``api-key``, ``hfToken``; not ``tokenizer``,
    ``api_key_env``, ``token_source``, nor a metric's name."""
    if key in METRICS:
        return False
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", key)
    words = re.findall(r"[a-z0-9]+", spaced.lower())
    return bool(_WORDS & set(words)) and words[-1] not in _ABOUT


def secrets_in(data: Any) -> Iterator[str]:
    """All secret values in nested data, as text; of ``Bearer abc`` also ``abc``."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            if _is_secret(key, value):
                yield str(value)
                yield from _SCHEME.findall(str(value))
            else:
                yield from secrets_in(value)
    elif isinstance(data, list | tuple):
        for item in data:
            yield from secrets_in(item)


def without_secrets(data: Any, secrets: frozenset[str]) -> Any:
    """``data`` with secret keys' values and every occurrence of a known secret blotted out."""
    longest_first = sorted((s for s in secrets if len(s) >= SHORTEST), key=len, reverse=True)
    return _blotted(data, longest_first)


def _blotted(data: Any, secrets: list[str]) -> Any:
    if isinstance(data, Mapping):
        return {key: HIDDEN if _is_secret(key, value) else _blotted(value, secrets) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_blotted(item, secrets) for item in data]
    if isinstance(data, str):
        for secret in secrets:
            data = data.replace(secret, HIDDEN)
    return data


def _is_secret(key: object, value: object) -> TypeGuard[str | int | float]:
    """A number is one too: YAML reads ``api-key: 12345678`` as such."""
    return isinstance(value, str | int | float) and not isinstance(value, bool) and looks_secret(str(key))
