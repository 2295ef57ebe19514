"""The commands ``capacity`` and ``verify``: the highest load of a running server, and the check of its certificate."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autotuner.cli import load_options as options
from autotuner.cli.app import Json, LogFile, Verbose, logged, out, out_stopped, reporting_errors, say, say_stopped, show
from autotuner.cli.bench.commands import sigterm_as_ctrl_c
from autotuner.cli.server.where import opened

if TYPE_CHECKING:
    from autotuner import CapacityLevel, CapacityReport, CapacityStoppedError, LoadUnit


class Unit(StrEnum):
    """What the capacity counts."""

    RATE = "rate"
    CONCURRENCY = "concurrency"
    SPEED = "speed"


_Scenarios = Annotated[
    list[str] | None,
    typer.Option("--scenario", "-s", help="D(in,out), N(..)/(..), U(..)/(..), dataset:FILE, trace:FILE, E(..), R(..)."),
]
_UnitOption = Annotated[
    Unit | None,
    typer.Option(
        "--unit",
        help="rate (requests/s, Poisson; default), concurrency (requests in flight), "
        "or speed (multiple of a trace's recorded speed).",
    ),
]
_Precision = Annotated[
    str, typer.Option("--precision", help="Largest distance of the refuted load from the certified one.")
]
_Confidence = Annotated[
    str | None, typer.Option("--confidence", help="Confidence of the certificate, 95% by default; not for a trace.")
]


def capacity(
    url: options.ServerUrl,
    slo: Annotated[
        list[str], typer.Option("--slo", help="SLO that must hold, e.g. 'p99 ttft <= 500ms'; repeat for more.")
    ],
    out_dir: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the certificate and its request records.")
    ] = Path("capacity"),
    scenario: _Scenarios = None,
    unit: _UnitOption = None,
    precision: _Precision = "10%",
    confidence: _Confidence = None,
    start: Annotated[float | None, typer.Option("--start", help="First load to try.")] = None,
    low: Annotated[float | None, typer.Option("--low", help="Lowest load to try.")] = None,
    high: Annotated[float | None, typer.Option("--high", help="Highest load to try.")] = None,
    max_requests: Annotated[int, typer.Option("--max-requests", min=100, help="Request budget.")] = 20_000,
    max_duration: Annotated[str, typer.Option("--max-duration", help="Time budget.")] = "30m",
    warmup: Annotated[str, typer.Option("--warmup", help="Load before each level; not counted.")] = "2s",
    request_timeout: options.RequestTimeout = "120s",
    model: options.ServedModel = None,
    api: options.ApiOption = options.ApiKind.CHAT,
    stream: options.Stream = True,
    tokenizer: options.Tokenizer = None,
    seed: options.Seed = 0,
    reuse_prompts: options.ReusePrompts = False,
    token_ids: options.TokenIds = False,
    ignore_eos: options.IgnoreEos = True,
    extra_body: options.ExtraBody = None,
    max_tokens_field: options.MaxTokensField = "max_tokens",
    api_key_env: options.ApiKeyEnv = None,
    header: options.Headers = None,
    ca_file: options.CaFile = None,
    insecure: options.Insecure = False,
    server_metrics: options.ServerMetrics = False,
    workers: options.Workers = "auto",
    json: Json = False,
    verbose: Verbose = 0,
    log_file: LogFile = None,
) -> None:
    """Find the highest load that a server takes within its SLOs. The result comes with a certificate."""
    with reporting_errors(as_json=json), logged(verbose, log_file), sigterm_as_ctrl_c():
        import autotuner
        from autotuner import CapacityStoppedError
        from autotuner.cli.exit_codes import ExitCode, of_stop

        workload = options.request_settings(
            api=api,
            scenarios=scenario,
            warmup=warmup,
            request_timeout=request_timeout,
            stream=stream,
            tokenizer=tokenizer,
            seed=seed,
            reuse_prompts=reuse_prompts,
            token_ids=token_ids,
            ignore_eos=ignore_eos,
            extra_body=extra_body,
        )
        search = {"precision": precision, "max_requests": max_requests, "max_duration": max_duration}
        kind = unit.value if unit else None
        optional = {"unit": kind, "confidence": confidence, "start": start, "low": low, "high": high}
        try:
            report = autotuner.measure_capacity(
                url,
                slos=slo,
                folder=out_dir,
                workload=workload,
                search={**search, **{name: value for name, value in optional.items() if value is not None}},
                model=model,
                api_key_env=api_key_env,
                headers=header or (),
                ca_file=ca_file,
                insecure=insecure,
                max_tokens_field=max_tokens_field,
                server_metrics=server_metrics,
                workers=workers,
                on_level=None if json else _say_level,
            )
        except CapacityStoppedError as stopped:
            _show_stopped(stopped, out_dir, as_json=json)
            raise typer.Exit(int(of_stop(stopped))) from None
        _show(report, out_dir, as_json=json)
        if any(result.certified is None for result in report.results):
            raise typer.Exit(int(ExitCode.INFEASIBLE))


def verify(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|STUDY",
            help="Folder that autotuner capacity wrote to, or a study with load: capacity.",
        ),
    ],
    json: Json = False,
) -> None:
    """Recompute certified capacities from their request records."""
    with reporting_errors(as_json=json):
        from autotuner.cli.capacity.page import verification_text
        from autotuner.cli.exit_codes import ExitCode

        found = opened(None).verify(source)
        if json:
            out(found)
        else:
            show(verification_text(found))
        if not found.holds:
            raise typer.Exit(int(ExitCode.FAILED))


def _say_level(level: "CapacityLevel", unit: "LoadUnit") -> None:
    from autotuner.report.views.capacity_texts import level_line

    say(level_line(level, unit))


def _show(report: "CapacityReport", folder: Path, *, as_json: bool) -> None:
    from autotuner.cli.capacity.page import capacity_text

    if as_json:
        out(report)
    else:
        show(capacity_text(report, folder))


def _show_stopped(stopped: "CapacityStoppedError", folder: Path, *, as_json: bool) -> None:
    """Prints what was found before the end, and why it ended; as JSON, in one document."""
    if as_json:
        out_stopped(stopped)
    else:
        _show(stopped.report, folder, as_json=False)
    say_stopped(stopped)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(capacity)
    app.command()(verify)
