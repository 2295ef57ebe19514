"""Where the address and the signing secret of a webhook come from.

Both are secrets, so neither is in the store, and thus in none of its backups. Those that were given with the webhook
are kept in a private file of the data directory; others are read, for each message, from a variable or a file that the
webhook names, as several machines need it.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from autotuner.api.webhooks.addresses import Network, parsed_url
from autotuner.api.webhooks.signing import key_of
from autotuner.errors import AutotunerError, UsageError
from autotuner.secrets import remember
from autotuner.store import files
from autotuner.store.paths import data_home
from autotuner.store.webhooks.records import Webhook

KEPT = "kept"
_ENV = "env:"
_FILE = "file:"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_MOST_BYTES = 4_096
_TELLING = 16
"""Shorter paths are not secret, and removing them would change text that has nothing to do with them."""


@dataclass(frozen=True)
class Destination:
    """Where a message is sent, and the key that it is signed with."""

    url: httpx.URL
    key: bytes


def source_of(env: str, file: str, *, where: str) -> str:
    """How the record names the source of a value: a variable or a file; ``kept`` if it is neither. Raises
    ``UsageError``."""
    if env and file:
        raise UsageError.at(where, "comes from a variable or from a file, not from both")
    if env:
        if not _VARIABLE.fullmatch(env):
            raise UsageError.at(f"{where}_env", "is not the name of a variable", value=env)
        return _ENV + env
    if file:
        if not Path(file).is_absolute():
            raise UsageError.at(f"{where}_file", "is not an absolute path", value=file)
        return _FILE + file
    return KEPT


def keep(identity: str, values: dict[str, str]) -> None:
    """Keeps what only this machine needs to know. Raises ``AutotunerError`` if it cannot be written."""
    files.write_private(_path(identity), json.dumps(values) + "\n")


def discard(identity: str) -> None:
    """Removes what was kept."""
    _path(identity).unlink(missing_ok=True)


def destination(webhook: Webhook, networks: Sequence[Network]) -> Destination:
    """Where to send messages of this webhook. Raises ``AutotunerError`` if this machine does not know, or may not."""
    kept = _kept(webhook.id) if KEPT in {webhook.url_source, webhook.secret_source} else {}
    address = _value(webhook.url_source, kept.get("url"), "address")
    secret = _value(webhook.secret_source, kept.get("secret"), "signing secret")
    found = Destination(parsed_url(address, networks), key_of(secret))
    hide(found.url, secret)  # only now: what is too short for a secret may be part of other text
    return found


def hide(url: httpx.URL | None, secret: str) -> None:
    """Removes a webhook's secrets from everything that this process writes."""
    remember({"secret": [secret]})
    path = url.raw_path.decode() if url is not None else ""
    if len(path) >= _TELLING:
        remember({"secret": [str(url), path]})


def _path(identity: str) -> Path:
    return data_home() / "webhooks" / f"{identity}.json"


def _kept(identity: str) -> dict[str, str]:
    try:
        found = json.loads(_path(identity).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _value(source: str, kept: str | None, what: str) -> str:
    if source.startswith(_ENV):
        name = source.removeprefix(_ENV)
        found = os.environ.get(name, "").strip()
        missing = f"its {what} is not in the variable {name} of this process"
    elif source.startswith(_FILE):
        path = Path(source.removeprefix(_FILE))
        try:
            found = files.read_text(path, limit=_MOST_BYTES).strip()
        except UsageError:
            found = ""
        missing = f"its {what} cannot be read from {path}"
    else:
        found = kept or ""
        missing = f"its {what} is kept on another machine, or in another data directory"
    if not found:
        raise AutotunerError(missing, remedy="add the webhook again, or name a variable or a file for it")
    return found
