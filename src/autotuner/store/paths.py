"""Where results live on this machine: the database, and per trial the server's log and the request records."""

import os
import re
from pathlib import Path

from autotuner.errors import EnvironmentFaultError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def data_home() -> Path:
    """``AUTOTUNER_HOME``, else ``autotuner`` under the user's data directory (XDG)."""
    own = os.environ.get("AUTOTUNER_HOME")
    if own:
        return _of_user(own).absolute()
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base).absolute() if base else _of_user("~/.local/share")) / "autotuner"


def site_file() -> Path | None:
    """``AUTOTUNER_SITE``, else ``autotuner/site.yaml`` under the user's configuration (XDG), else
    ``/etc/autotuner/site.yaml``; None where none is there. One that the variable names must be there."""
    own = os.environ.get("AUTOTUNER_SITE")
    if own:
        return _of_user(own)
    base = os.environ.get("XDG_CONFIG_HOME")
    user = (Path(base) if base else _of_user("~/.config")) / "autotuner" / "site.yaml"
    return next((path for path in (user, Path("/etc/autotuner/site.yaml")) if path.is_file()), None)


def _of_user(path: str) -> Path:
    """A container's user often has neither a home nor an entry in the list of users."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise NoHomeError(
            f"no home folder is known to expand {path}", remedy="set AUTOTUNER_HOME to a folder"
        ) from None


class NoHomeError(EnvironmentFaultError):
    """The data directory cannot be named."""


def default_url() -> str | Path:
    """``AUTOTUNER_STORE``, else the SQLite file in the data directory, as a path: its characters mean nothing else."""
    return os.environ.get("AUTOTUNER_STORE") or data_home() / "autotuner.db"


def study_folder(name: str) -> Path:
    """The folder of one study. Raises ValueError for a name that could leave the data directory."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a study name: {name!r}")
    return data_home() / "studies" / name


def trial_folder(name: str, number: int) -> Path:
    """The folder of one trial: ``server.log`` and the request records."""
    return study_folder(name) / "trials" / f"{number:04d}"
