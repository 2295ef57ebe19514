"""Locations on this machine: the database, and the folder of each trial with server log and request records."""

import os
import re
from pathlib import Path

from autotuner.errors import EnvironmentFaultError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def data_home() -> Path:
    """Data directory: ``AUTOTUNER_HOME``, otherwise ``autotuner`` under the user's data directory (XDG)."""
    own = os.environ.get("AUTOTUNER_HOME")
    if own:
        return _of_user(own).absolute()
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base).absolute() if base else _of_user("~/.local/share")) / "autotuner"


def site_file() -> Path | None:
    """Site settings: ``AUTOTUNER_SITE``, otherwise ``autotuner/site.yaml`` under the user's configuration (XDG),
    otherwise ``/etc/autotuner/site.yaml``; None if neither of these two exists. The file that the variable names is
    returned in any case."""
    own = os.environ.get("AUTOTUNER_SITE")
    if own:
        return _of_user(own)
    base = os.environ.get("XDG_CONFIG_HOME")
    user = (Path(base) if base else _of_user("~/.config")) / "autotuner" / "site.yaml"
    return next((path for path in (user, Path("/etc/autotuner/site.yaml")) if path.is_file()), None)


def _of_user(path: str) -> Path:
    """The path with ``~`` expanded."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # the user of a container often has neither a home nor an entry in /etc/passwd
        raise NoHomeError(
            f"no home folder is known to expand {path}", remedy="set AUTOTUNER_HOME to a folder"
        ) from None


class NoHomeError(EnvironmentFaultError):
    """The data directory is unknown because the user has no home."""


def default_url() -> str | Path:
    """``AUTOTUNER_STORE``, otherwise the SQLite file in the data directory; as a path, so that no character of it is
    read as part of a URL."""
    return os.environ.get("AUTOTUNER_STORE") or data_home() / "autotuner.db"


def is_study_name(text: str) -> bool:
    """Whether a study may have this name, which is also the name of its folder."""
    return _NAME.fullmatch(text) is not None


def study_folder(name: str) -> Path:
    """The folder of one study. Raises ValueError for a name that could leave the data directory."""
    if not is_study_name(name):
        raise ValueError(f"not a study name: {name!r}")
    return data_home() / "studies" / name


def trial_folder(name: str, number: int) -> Path:
    """The folder of one trial: ``server.log`` and the request records."""
    return study_folder(name) / "trials" / f"{number:04d}"
