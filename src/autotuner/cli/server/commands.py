"""The server, and the tokens of its clients: serve, token create, token list, token revoke."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from autotuner.cli.app import Json, LogFile, StoreUrl, Verbose, logged, out, reporting_errors, say, show
from autotuner.cli.fleet.commands import Label, StudyLimit

DEFAULT_PORT = 8321
tokens = typer.Typer(no_args_is_help=True, help="Tokens of the clients of autotuner serve.")


Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0: a free one.")]


class ScopeName(StrEnum):
    """What a token allows."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


def serve(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Port = DEFAULT_PORT,
    host_name: Annotated[
        list[str] | None,
        typer.Option("--host-name", metavar="NAME", help="A further name by which clients reach the server."),
    ] = None,
    allow_path: Annotated[
        list[Path] | None,
        typer.Option("--allow-path", metavar="DIR", help="Folder whose files clients may name in studies; repeatable."),
    ] = None,
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Take studies from the queue and run them here.")
    ] = True,
    at_most: StudyLimit = 1,
    label: Label = None,
    store: StoreUrl = None,
    verbose: Verbose = 0,
    log_file: LogFile = None,
) -> None:
    """Serve a web UI and an API, and run the queue."""
    with reporting_errors(as_json=False), logged(verbose, log_file, server=True):
        import autotuner

        require_server()
        from autotuner.server.routes.pages import is_built
        from autotuner.server.serving import is_every_interface, serve

        tuner = autotuner.open(store)

        def ready(url: str, code: str) -> None:
            say(f"API: {url}/api/v1 (OpenAPI: {url}/api/v1/openapi.json); Ctrl-C ends the server")
            if is_built():
                # Written as it is, because a secret would be removed. The part after # stays in the browser: neither a
                # proxy nor a log sees it.
                sys.stderr.write(f"Web UI: {url}/sign-in#code={code} (signs in once, within 15 minutes)\n")
                sys.stderr.flush()
            else:
                say("the web UI is not part of this installation; in a checkout, make ui builds it")
            if not tuner.access().tokens():
                say("no token exists yet; create one with: autotuner token create NAME")
            if is_every_interface(host) and not host_name:
                say("other machines can use it only under a name that --host-name gives")

        with tuner.working_beside(at_most=at_most, labels=label or ()) if worker else nullcontext():
            serve(tuner, host=host, port=port, names=host_name or (), roots=_folders(allow_path), on_ready=ready)


def require_server() -> None:
    """Raises ``MissingExtraError`` if the packages of the server are not installed."""
    from importlib import import_module

    from autotuner.errors import MissingExtraError

    try:
        import_module("autotuner.server.serving")
    except ModuleNotFoundError as error:
        if error.name not in {"fastapi", "prometheus_client", "uvicorn"}:
            raise
        raise MissingExtraError("autotuner serve", "server") from None


def _folders(given: Sequence[Path] | None) -> list[Path]:
    """The folders of --allow-path, which must exist. Raises ``UsageError``."""
    from autotuner.errors import UsageError

    for folder in given or ():
        if not folder.is_dir():
            raise UsageError.at("--allow-path", "is not a folder", value=str(folder), remedy="name an existing one")
    return [folder.resolve() for folder in given or ()]


@tokens.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the token is for.")],
    scope: Annotated[ScopeName, typer.Option("--scope", help="What it allows; each includes those before it.")] = (
        ScopeName.READ
    ),
    days: Annotated[
        int | None, typer.Option("--days", min=1, help="Days until it expires.", show_default="never")
    ] = None,
    store: StoreUrl = None,
    json: Json = False,
) -> None:
    """Create a token, and print its secret to stdout; it cannot be shown again."""
    with reporting_errors(as_json=json):
        import autotuner

        made = autotuner.open(store).access().create(name, scope.value, days=days)
        # Written as it is: everything else that the program prints has its secrets removed.
        sys.stdout.write((made.model_dump_json() if json else made.secret) + "\n")
        say(f"created {made.token.name} (id {made.token.id}); keep the secret, it cannot be shown again")


@tokens.command("list")
def list_(store: StoreUrl = None, json: Json = False) -> None:
    """List tokens, without their secrets."""
    with reporting_errors(as_json=json):
        import time

        import autotuner

        found = autotuner.open(store).access().tokens()
        if json:
            out({"tokens": found})
        else:
            from autotuner.cli.server.tokens_page import tokens_text

            show(tokens_text(found, now=time.time()))


@tokens.command("revoke")
def revoke(
    identity: Annotated[str, typer.Argument(metavar="ID", help="Id of the token, as in autotuner token list.")],
    store: StoreUrl = None,
    json: Json = False,
) -> None:
    """Revoke a token. Requests that use it are refused from now on."""
    with reporting_errors(as_json=json):
        import autotuner

        autotuner.open(store).access().revoke(identity)
        if json:
            out({"revoked": identity})
        else:
            say(f"revoked {identity}")


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(serve)
    app.add_typer(tokens, name="token")
