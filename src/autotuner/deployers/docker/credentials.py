"""Credentials for pulls, as ``docker login`` left them: in its file, or with the helper programs that the file names.

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
"""The name under which Docker keeps the credentials of its own registry."""
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_HELPER_S = 20.0
_TOKEN_USER = "<token>"  # noqa: S105 - what helpers give for a user's name where the secret is an identity token


def registry_of(image: str) -> str:
    """The registry in an image's name: ``docker.io`` unless the first part is a host."""
    first, slash, _ = image.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return first if is_host else "docker.io"


def auth_header(image: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The value of ``X-Registry-Auth`` for a pull; None where nobody is logged in. Helper programs are run."""
    registry = registry_of(image)
    keys = [_HUB, *_HUB_NAMES] if registry in _HUB_NAMES else [registry, f"https://{registry}", f"http://{registry}"]
    found = _found(_config(environ), keys)
    if found is None:
        return None
    body = {**found, "serveraddress": _HUB if registry in _HUB_NAMES else registry}
    return base64.urlsafe_b64encode(json.dumps(body).encode()).decode()


def _config(environ: Mapping[str, str]) -> Mapping[str, Any]:
    folder = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME") or Path.home()) / ".docker")
    try:
        found = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _found(config: Mapping[str, Any], keys: list[str]) -> dict[str, str] | None:
    """Credentials under the first of these names: a registry's own helper, the common helper, then the file."""
    helpers = _section(config, "credHelpers")
    for key in keys:
        helper = helpers.get(key) or config.get("credsStore")
        if helper and (found := _ask(str(helper), key)):
            return found
    auths = _section(config, "auths")
    by_name = {name.rstrip("/"): entry for name, entry in auths.items()}
    for key in keys:
        entry = by_name.get(key.rstrip("/")) or by_name.get(f"{key.rstrip('/')}/v1") or by_name.get(f"{key}/v2")
        if isinstance(entry, dict) and (found := _entry(entry)):
            return found
    return None


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def _entry(entry: Mapping[str, Any]) -> dict[str, str] | None:
    if entry.get("identitytoken"):
        return {"identitytoken": str(entry["identitytoken"])}
    if entry.get("username") and entry.get("password"):
        return {"username": str(entry["username"]), "password": str(entry["password"])}
    try:
        user, colon, password = base64.b64decode(str(entry.get("auth") or "")).decode().partition(":")
    except ValueError:
        return None
    return {"username": user, "password": password.rstrip("\0")} if colon else None


def _ask(helper: str, key: str) -> dict[str, str] | None:
    """What a helper program knows of a registry; None where it knows nothing, is missing, or fails."""
    program = shutil.which(f"docker-credential-{helper}")
    if program is None:
        return None
    try:
        done = subprocess.run([program, "get"], input=key.encode(), capture_output=True, timeout=_HELPER_S, check=True)
        told = json.loads(done.stdout)
        user = str(told["Username"])
        secret = str(told["Secret"])
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError):
        return None
    if not secret:
        return None
    return {"identitytoken": secret} if user == _TOKEN_USER else {"username": user, "password": secret}
