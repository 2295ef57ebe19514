"""Registry credentials saved by ``docker login``: in its configuration file, or in credential helpers.

https://docs.docker.com/reference/cli/docker/login/ describes both; the protocol of helpers is that of
https://github.com/docker/docker-credential-helpers.
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_HUB = "https://index.docker.io/v1/"
"""Key under which Docker stores the credentials of Docker Hub."""
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_HELPER_S = 20.0
_TOKEN_USER = "<token>"  # noqa: S105 - user name that helpers return with an identity token


def registry_of(image: str) -> str:
    """Returns the registry of an image name: ``docker.io`` unless the first component is a host."""
    first, slash, _ = image.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return first if is_host else "docker.io"


def auth_header(image: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Returns the ``X-Registry-Auth`` header for a pull; None if not logged in. May run a credential helper."""
    registry = registry_of(image)
    keys = [_HUB, *_HUB_NAMES] if registry in _HUB_NAMES else [registry, f"https://{registry}", f"http://{registry}"]
    credentials = _find(_config(environ), keys)
    if credentials is None:
        return None
    body = {**credentials, "serveraddress": _HUB if registry in _HUB_NAMES else registry}
    return base64.urlsafe_b64encode(json.dumps(body).encode()).decode()


def _config(environ: Mapping[str, str]) -> Mapping[str, Any]:
    folder = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME") or Path.home()) / ".docker")
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _find(config: Mapping[str, Any], keys: list[str]) -> dict[str, str] | None:
    """Looks the keys up in the registry's own helper, then in the default helper, then in the file."""
    helpers = _section(config, "credHelpers")
    for key in keys:
        helper = helpers.get(key) or config.get("credsStore")
        if helper and (credentials := _run_helper(str(helper), key)):
            return credentials
    auths = _section(config, "auths")
    by_name = {name.rstrip("/"): entry for name, entry in auths.items()}
    for key in keys:
        entry = by_name.get(key.rstrip("/")) or by_name.get(f"{key.rstrip('/')}/v1") or by_name.get(f"{key}/v2")
        if isinstance(entry, dict) and (credentials := _parse_entry(entry)):
            return credentials
    return None


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    return section if isinstance(section, dict) else {}


def _parse_entry(entry: Mapping[str, Any]) -> dict[str, str] | None:
    if entry.get("identitytoken"):
        return {"identitytoken": str(entry["identitytoken"])}
    if entry.get("username") and entry.get("password"):
        return {"username": str(entry["username"]), "password": str(entry["password"])}
    try:
        user, colon, password = base64.b64decode(str(entry.get("auth") or "")).decode().partition(":")
    except ValueError:
        return None
    return {"username": user, "password": password.rstrip("\0")} if colon else None


def _run_helper(helper: str, key: str) -> dict[str, str] | None:
    """Gets a registry's credentials from a helper; None if it has none, is not installed, or fails."""
    program = shutil.which(f"docker-credential-{helper}")
    if program is None:
        return None
    try:
        done = subprocess.run([program, "get"], input=key.encode(), capture_output=True, timeout=_HELPER_S, check=True)
        answer = json.loads(done.stdout)
        user = str(answer["Username"])
        secret = str(answer["Secret"])
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError):
        return None
    if not secret:
        return None
    return {"identitytoken": secret} if user == _TOKEN_USER else {"username": user, "password": secret}
