"""Commands that need no study: schema, params, init, demo, version."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from autotuner.cli import run as run_commands
from autotuner.cli.app import Json, StoreUrl, out, program, reporting_errors, say, show
from autotuner.cli.server import commands as server_commands


class Goal(StrEnum):
    """What a starter study is for."""

    THROUGHPUT = "throughput"
    LATENCY = "latency"
    LONG_PROMPTS = "long-prompts"
    CAPACITY = "capacity"
    COST = "cost"


def schema(json: Json = False) -> None:
    """Print the JSON Schema of the study file, for editors."""
    with reporting_errors(as_json=json):
        import autotuner

        out(autotuner.study_schema())


def params(
    engine: Annotated[str, typer.Argument(metavar="ENGINE", help="Engine, e.g. llama_cpp.")],
    json: Json = False,
) -> None:
    """List the parameters of an engine with type, range and default."""
    with reporting_errors(as_json=json):
        import autotuner
        from autotuner.cli.texts import params_text

        catalog = autotuner.engine_parameters(engine)
        if json:
            out({"engine": engine, "parameters": catalog})
        else:
            show(params_text(catalog))


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Study file to write.")] = Path("study.yaml"),
    engine: Annotated[str, typer.Option("--engine", help="Engine to tune.")] = "llama_cpp",
    model: Annotated[str | None, typer.Option("--model", help="Model path or Hub ID; default: a placeholder.")] = None,
    server: Annotated[
        str | None,
        typer.Option("--server", help="Server executable, e.g. your own llama-server; default: the one on PATH."),
    ] = None,
    goal: Annotated[Goal, typer.Option("--goal", help="What the study is for.")] = Goal.THROUGHPUT,
    json: Json = False,
) -> None:
    """Write a commented starter study file for this machine."""
    with reporting_errors(as_json=json):
        import autotuner

        path = autotuner.write_starter(file, engine=engine, model=model, server=server, goal=goal.value)
        if json:
            out({"file": str(path)})
        else:
            show(f"{path}\nnext: {program()} plan {path}")


def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder for the model and the study file; created if it is missing.")
    ] = Path("autotuner-demo"),
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Show the study in the web UI afterwards.")] = True,
    port: server_commands.Port = server_commands.DEFAULT_PORT,
    store: StoreUrl = None,
) -> None:
    """Tune a real llama.cpp server with a small generated model.

    It takes about four minutes, and needs neither a GPU nor a download.
    """
    with reporting_errors(as_json=False):
        import autotuner

        if serve:
            server_commands.require_server()
        study = autotuner.write_demo(folder)
        say(f"tuning a llama.cpp server on this machine with {study}; the model's weights are random")
    run_commands.run(study, store=store)
    if serve:
        server_commands.serve(port=port, store=store)


def version(json: Json = False) -> None:
    """Print the version."""
    from autotuner import __version__

    if json:
        out({"version": __version__})
    else:
        show(__version__)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    for command in (schema, params, init, demo, version):
        app.command()(command)
