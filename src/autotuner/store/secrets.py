"""Secrets of a study file stay out of the database: their values are blotted out of everything that is stored.

A run reads its study file again each time, so nothing but the display needs them.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

HIDDEN = "***"
SHORTEST = 4
"""Shorter values are blotted out where they stand, but not searched for in other text."""

_WORDS = {"key", "apikey", "token", "secret", "password", "passwd", "authorization", "credential", "credentials"}


def looks_secret(key: str) -> bool:
    """Whether a key's value is a secret by its name: ``HF_TOKEN``, ``api-key``; not ``tokenizer``, ``api_key_env``."""
    words = re.split(r"[^a-z0-9]+", key.lower())
    return bool(_WORDS & set(words)) and words[-1] not in {"env", "file", "path"}


def secrets_in(data: Any) -> Iterator[str]:
    """All secret values in nested data."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            if looks_secret(str(key)) and isinstance(value, str):
                yield value
            else:
                yield from secrets_in(value)
    elif isinstance(data, list | tuple):
        for item in data:
            yield from secrets_in(item)


def without_secrets(data: Any, secrets: frozenset[str]) -> Any:
    """``data`` with secret keys' values and every occurrence of a known secret blotted out."""
    if isinstance(data, Mapping):
        return {
            key: HIDDEN if looks_secret(str(key)) and isinstance(value, str) else without_secrets(value, secrets)
            for key, value in data.items()
        }
    if isinstance(data, list | tuple):
        return [without_secrets(item, secrets) for item in data]
    if isinstance(data, str):
        for secret in secrets:
            if len(secret) >= SHORTEST:
                data = data.replace(secret, HIDDEN)
    return data
