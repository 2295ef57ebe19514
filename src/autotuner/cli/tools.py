"""Commands beside a study: bench, schema, params, init, version."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from autotuner.cli.app import Json, answering, out, program, say, show


class ApiKind(StrEnum):
    """OpenAI endpoints."""

    CHAT = "chat"
    COMPLETIONS = "completions"


def bench(
    url: Annotated[str, typer.Argument(metavar="URL", help="Base URL of a running OpenAI-compatible server.")],
    scenario: Annotated[
        list[str] | None, typer.Option("--scenario", "-s", help="D(in,out), N(..)/(..), U(..)/(..), dataset:FILE.")
    ] = None,
    concurrency: Annotated[list[int] | None, typer.Option("--concurrency", "-c", min=1, help="In flight.")] = None,
    rate: Annotated[list[float] | None, typer.Option("--rate", "-r", help="Requests/s, Poisson arrivals.")] = None,
    duration: Annotated[str, typer.Option("--duration", "-d", help="Measured window.")] = "30s",
    warmup: Annotated[str, typer.Option("--warmup", help="Load before the window, left out of it.")] = "2s",
    requests: Annotated[int | None, typer.Option("--requests", "-n", min=1, help="End the window early.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Name in requests; default: the server's first.")] = None,
    api: Annotated[ApiKind, typer.Option("--api", help="Endpoint.")] = ApiKind.CHAT,
    tokenizer: Annotated[Path | None, typer.Option("--tokenizer", help="Local tokenizer.json.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of prompts, lengths and arrivals.")] = 0,
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", help="Environment variable that holds the API key.")
    ] = None,
    out_dir: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the request records.")] = None,
    json: Json = False,
) -> None:
    """Measure a server that runs already; no study, nothing is stored."""
    with answering(as_json=json):
        from autotuner import api as autotuner_api
        from autotuner.cli.texts import bench_text
        from autotuner.study.errors import ExitCode

        workload = {
            "api": api.value,
            "scenarios": scenario or ["D(128,64)"],
            "concurrency": concurrency or ([] if rate else [1]),
            "rates": rate or [],
            "duration": duration,
            "warmup": warmup,
            "seed": seed,
            **({"requests": requests} if requests else {}),
            **({"tokenizer": str(tokenizer)} if tokenizer else {}),
        }
        measurements = autotuner_api.bench(
            url,
            workload=workload,
            model=model,
            api_key_env=api_key_env,
            folder=out_dir,
            on_window=None if json else say,
        )
        if json:
            out({"url": url, "measurements": measurements})
        else:
            show(bench_text(measurements))
        if all(m.requests == m.failed for m in measurements):
            raise typer.Exit(int(ExitCode.FAILED))


def schema(json: Json = False) -> None:
    """Print the study file's JSON Schema (for editors); it is JSON with and without --json."""
    with answering(as_json=json):
        from autotuner import api

        out(api.schema())


def params(
    engine: Annotated[str, typer.Argument(metavar="ENGINE", help="Kind of engine, e.g. llama_cpp.")],
    json: Json = False,
) -> None:
    """List an engine's parameters: type, range, default, meaning."""
    with answering(as_json=json):
        from autotuner import api
        from autotuner.cli.texts import params_text

        catalog = api.params(engine)
        if json:
            out({"engine": engine, "parameters": catalog})
        else:
            show(params_text(catalog))


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Study file to write.")] = Path("study.yaml"),
    engine: Annotated[str, typer.Option("--engine", help="Kind of engine.")] = "llama_cpp",
    model: Annotated[str, typer.Option("--model", help="The model's path or hub id.")] = "model.gguf",
    json: Json = False,
) -> None:
    """Write a commented study file to start from."""
    with answering(as_json=json):
        from autotuner import api

        path = api.write_starter(file, engine=engine, model=model)
        if json:
            out({"file": str(path)})
        else:
            show(f"{path}\nnext: {program()} plan {path}")


def version(json: Json = False) -> None:
    """Print the version."""
    from autotuner import __version__

    if json:
        out({"version": __version__})
    else:
        show(__version__)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    for command in (bench, schema, params, init, version):
        app.command()(command)
