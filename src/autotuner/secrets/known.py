"""Secrets whose values this process knows."""

import html
import json
import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from autotuner.secrets.finding import SHORTEST_INHERITED, secrets_in
from autotuner.secrets.forms import HIDDEN

SHORTEST = 4
"""Shorter values are hidden where they stand, but not searched for in other text."""
_remembered: frozenset[str] = frozenset()
_lock = threading.Lock()


def remember(data: Any) -> None:
    """Makes the secrets in nested data (a study, settings, headers) known to this process, which then removes them from
    everything that it writes, whatever name they stand under."""
    _add(frozenset(s for s in secrets_in(data) if len(s) >= SHORTEST and s != HIDDEN))


def remember_environment(environment: Mapping[str, str] | None = None) -> None:
    """Does the same for the variables of the tuner's own environment: servers inherit them and may log them."""
    given = os.environ if environment is None else environment
    _add(frozenset(s for s in secrets_in(dict(given)) if len(s) >= SHORTEST_INHERITED))


def _add(found: frozenset[str]) -> None:
    global _remembered  # noqa: PLW0603 - process-wide on purpose: no output may depend on being handed the secrets
    with _lock:
        _remembered |= found


def known_secrets() -> frozenset[str]:
    """The secrets made known to this process so far."""
    return _remembered


def spellings(secrets: Iterable[str]) -> list[str]:
    """The secrets as they may appear in text, JSON, URLs and HTML.

    The longest come first, so that hiding a secret inside another one leaves nothing of the longer one.
    """
    spelled = set[str]()
    for secret in secrets:
        if len(secret) >= SHORTEST:
            escaped = json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]
            spelled |= {secret, *escaped, quote(secret, safe=""), html.escape(secret), html.escape(secret, quote=False)}
    return sorted(spelled, key=lambda s: (-len(s), s))
