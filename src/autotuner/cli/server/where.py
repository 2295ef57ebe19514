"""Where a command finds its studies, presets and webhooks: in a store, or on a server.

Imports little, because every command uses it.
"""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from autotuner.api.remote import TOKEN_VARIABLE

if TYPE_CHECKING:
    from autotuner import Autotuner
    from autotuner.api.remote.studies import RemoteStudies

VARIABLE = "AUTOTUNER_SERVER"
COMMANDS = (
    "run", "plan", "doctor", "submit", "queue", "workers", "watch", "stop", "reap", "list", "show", "logs", "best",
    "report", "export", "verify", "delete", "preset", "webhook",
)  # fmt: skip
"""Commands that also work on a server."""
OF_THIS_MACHINE = ("backup", "restore", "reap", "token")
"""Commands on what this machine has, which someone whose variable names a server may not mean."""


@dataclass
class _Choice:
    """The server of this command line; an empty URL: commands use a store."""

    url: str = ""
    given: bool = False
    """Whether an option named it, rather than a variable."""


_choice = _Choice()


def choose(server: str | None, command: str | None, *, given: bool) -> None:
    """Takes the server of the command line.

    Args:
        server: Its URL; None: commands use a store.
        command: Name of the command.
        given: Whether the server is an option of this command line, rather than a variable: commands that only work on
            this machine ignore the variable.

    Raises:
        BadParameter: If the command cannot use a server.
    """
    usable = command in COMMANDS
    _choice.url = server if server and usable else ""
    _choice.given = given
    if server and given and not usable:
        raise typer.BadParameter(
            f"{command} works on this machine only; commands that use a server: {', '.join(COMMANDS)}",
            param_hint="--server",
        )


def option() -> list[str]:
    """The words that name the server again, for the next command."""
    return ["--server", shlex.quote(_choice.url)] if is_given() else []


def server_of(store: str | None) -> "RemoteStudies | None":
    """The studies of the chosen server; None if a store is to be used. Raises ``UsageError`` if both were given."""
    if not _choice.url:
        return None
    from autotuner.api.remote.studies import RemoteStudies
    from autotuner.errors import UsageError

    if store is not None and store != os.environ.get("AUTOTUNER_STORE"):
        raise UsageError.at("--store", "cannot be used with --server", remedy="give one of the two")
    return RemoteStudies(_choice.url, os.environ.get(TOKEN_VARIABLE, ""))


def server_url() -> str:
    """The URL of the chosen server; empty if a store is to be used."""
    return _choice.url


def is_given() -> bool:
    """Whether an option of this command line, rather than a variable, chose a server."""
    return bool(_choice.url) and _choice.given


def opened(store: str | None) -> "Autotuner | RemoteStudies":
    """The studies that a command works on. Raises ``UsageError``."""
    import autotuner

    return server_of(store) or autotuner.open(store)


def refuse(options: Sequence[tuple[str, object]]) -> None:
    """Refuses options that have no meaning on a server. Raises ``UsageError``."""
    from autotuner.errors import UsageError

    for name, value in options:
        if value:
            raise UsageError.at(name, "cannot be used with --server", remedy="use it where the studies are stored")
