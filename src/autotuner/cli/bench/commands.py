"""The command ``bench``: measures a running server without a study."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autotuner.cli import load_options as options
from autotuner.cli.app import Json, LogFile, Verbose, logged, out, out_stopped, reporting_errors, say, say_stopped, show

if TYPE_CHECKING:
    from autotuner import BenchReport, BenchStoppedError


def bench(
    url: options.ServerUrl,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            "--scenario", "-s", help="D(in,out), N(..)/(..), U(..)/(..), dataset:FILE, trace:FILE, E(..) or R(..)."
        ),
    ] = None,
    concurrency: Annotated[
        list[int] | None, typer.Option("--concurrency", "-c", min=1, help="Requests in flight.")
    ] = None,
    rate: Annotated[list[float] | None, typer.Option("--rate", "-r", help="Requests per second (Poisson).")] = None,
    stages: Annotated[
        list[str] | None, typer.Option("--stages", help="A rate that changes, e.g. 2/s:10s,8/s:20s,2..10/s:30s.")
    ] = None,
    users: Annotated[
        list[int] | None, typer.Option("--users", "-u", min=1, help="Conversations: users who hold them.")
    ] = None,
    speed: Annotated[
        list[float] | None, typer.Option("--speed", help="Traces: how many times as fast to replay them.")
    ] = None,
    duration: Annotated[str, typer.Option("--duration", "-d", help="Length of the measured window.")] = "30s",
    warmup: Annotated[str, typer.Option("--warmup", help="Load before the window; not measured.")] = "2s",
    requests: Annotated[
        int | None, typer.Option("--requests", "-n", min=1, help="Requests per window, at most.")
    ] = None,
    request_timeout: options.RequestTimeout = "120s",
    slo: Annotated[
        list[str] | None, typer.Option("--slo", help="SLO, e.g. 'p99 ttft <= 200ms'; exit code 3 if missed.")
    ] = None,
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
    out_dir: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for request records.")] = None,
    json: Json = False,
    verbose: Verbose = 0,
    log_file: LogFile = None,
) -> None:
    """Measure a running server without a study; nothing is stored."""
    with reporting_errors(as_json=json), logged(verbose, log_file), sigterm_as_ctrl_c():
        import autotuner
        from autotuner import BenchStoppedError
        from autotuner.cli.exit_codes import ExitCode, of_stop

        workload = {
            **options.request_settings(
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
            ),
            "concurrency": concurrency or ([] if rate or stages or users or speed or _is_trace(scenario) else [1]),
            "rates": rate or [],
            "stages": stages or [],
            "users": users or [],
            "speeds": speed or [],
            "duration": duration,
            **({"requests": requests} if requests else {}),
        }
        try:
            report = autotuner.bench(
                url,
                workload=workload,
                model=model,
                api_key_env=api_key_env,
                headers=header or (),
                ca_file=ca_file,
                insecure=insecure,
                max_tokens_field=max_tokens_field,
                slos=slo or (),
                folder=out_dir,
                server_metrics=server_metrics,
                workers=workers,
                on_window=None if json else say,
            )
        except BenchStoppedError as stopped:
            _show_stopped(stopped, as_json=json)
            raise typer.Exit(int(of_stop(stopped))) from None
        _show(report, as_json=json)
        if all(m.requests == m.failed for m in report.measurements):
            raise typer.Exit(int(ExitCode.FAILED))
        if not all(found.met for found in report.slos):
            raise typer.Exit(int(ExitCode.INFEASIBLE))


def _show(report: "BenchReport", *, as_json: bool) -> None:
    from autotuner.cli.bench.page import bench_text

    if as_json:
        out(report)
    else:
        show(bench_text(report))


def _show_stopped(stopped: "BenchStoppedError", *, as_json: bool) -> None:
    """Prints what was measured before the end, and why it ended; as JSON, in one document."""
    if as_json:
        out_stopped(stopped)
    else:
        _show(stopped.report, as_json=False)
    say_stopped(stopped)


def _is_trace(scenarios: list[str] | None) -> bool:
    return any(text.strip().startswith("trace:") for text in scenarios or ())


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Handles SIGTERM like Ctrl-C, so that a command ended by a time limit still prints what it measured."""
    # Background jobs of a shell ignore SIGINT. Raising it would have no effect, so SIGTERM keeps its own handler.
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command()(bench)
