"""Target of ``bench``: a running server as given on the command line."""

import os
from collections.abc import Mapping

from autotuner.errors import Problem, UsageError
from autotuner.net.client import fetch_object
from autotuner.net.faults import NOT_JSON, Fault
from autotuner.net.remedies import BENCH, remedy_for
from autotuner.net.target import Target, expanded, parse_target
from autotuner.net.tls import tls_context

_TIMEOUT_S = 10.0
_NO_LIST = frozenset({NOT_JSON, "http_404", "http_405", "http_501"})
"""Responses of servers that do not list their models, or of another path."""
_NO_LIST_REMEDY = "correct the URL (the part before /v1), or name the model with --model"


def server_at(
    url: str, *, headers: Mapping[str, str], api_key_env: str | None, ca_file: str | None, insecure: bool
) -> Target:
    """The server at ``url``; ``${NAME}`` in it and in headers stands for a variable. Raises ``UsageError``."""
    if insecure and ca_file:
        raise UsageError(Problem(where="--insecure", why="excludes --ca-file", remedy="remove one of them"))
    try:
        found = {name: expanded(text, os.environ) for name, text in headers.items()}
    except ValueError as error:
        raise UsageError(Problem.refused("--header", error, remedy="export it")) from None
    try:
        target = parse_target(
            expanded(url, os.environ),
            headers=found,
            key=os.environ.get(api_key_env) if api_key_env else None,
            ca_file=ca_file,
            insecure=insecure,
        ).with_proxy(os.environ)
        if target.base.startswith("https:"):
            tls_context(ca_file, insecure=insecure)
    except ValueError as error:
        raise UsageError(Problem.refused("URL", error, value=shown_url(url))) from None
    return target


def shown_url(url: str) -> str:
    """The URL without user, password and query, which may be credentials."""
    address = url.partition("?")[0].partition("#")[0]
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address.rpartition("@")[2]
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


async def first_model(target: Target) -> str:
    """The first model that the server lists. Raises ``UsageError`` with the server's answer if there is none."""
    found = await fetch_object(target, "/v1/models", timeout_s=_TIMEOUT_S)
    address = f"{target.shown}/models" + (f" through {target.access.proxy.shown}" if target.access.proxy else "")
    if isinstance(found, Fault):
        remedy = _NO_LIST_REMEDY if found.kind in _NO_LIST else remedy_for(found, BENCH)
        raise UsageError.at("URL", found.message, value=address, remedy=remedy)
    try:
        return str(found["data"][0]["id"])
    except (LookupError, TypeError):
        why = "the server lists no model"
        raise UsageError.at("URL", why, value=address, remedy="name the model with --model") from None
