"""Commands that run studies: run, plan, doctor, watch, stop, reap."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autotuner.cli.app import Json, LogFile, Name, StoreUrl, Verbose, logged, out, program, reporting_errors, say, show
from autotuner.cli.server.where import is_given, opened, refuse, server_of, server_url

if TYPE_CHECKING:
    from autotuner import Autotuner, LaunchedObjects, StudyResult

File = Annotated[Path, typer.Argument(metavar="FILE", help="Study file (YAML or JSON), or an older task JSON.")]
Mode = Annotated[
    str | None,
    typer.Option("--mode", help="Deployer to use instead of the file's (process, docker, kubernetes, ome, external)."),
]
Benchmark = Annotated[
    str | None,
    typer.Option("--benchmark", help="Benchmark to use instead of the file's (native, genai_bench, ome_job)."),
]


Simulate = Annotated[
    str | None,
    typer.Option(
        "--simulate",
        metavar="GPUxN",
        help="Simulate SGLang or vLLM on these GPUs, e.g. H100x8; results are stored under a separate name.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Override one value of the file, e.g. search.trials=5; repeatable."
    ),
]


StudyName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Study name to use instead of the file's.")
]


def run(
    file: File,
    name: StudyName = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over; previous results are kept under a dated name.")
    ] = False,
    mode: Mode = None,
    benchmark: Benchmark = None,
    simulate: Simulate = None,
    settings: Set = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Launch nothing; show the plan (same as the plan command).")
    ] = False,
    store: StoreUrl = None,
    json: Json = False,
    verbose: Verbose = 0,
    log_file: LogFile = None,
) -> None:
    """Run a study; resumes automatically if it was interrupted."""
    if dry_run:
        plan(
            file,
            name=name,
            mode=mode,
            benchmark=benchmark,
            simulate=simulate,
            settings=settings,
            store=store,
            json=json,
            verbose=verbose,
            log_file=log_file,
        )
        return
    with reporting_errors(as_json=json), logged(verbose, log_file):
        import autotuner
        from autotuner.cli.live_screen import run_live, run_on_server

        loaded = autotuner.read_study(
            file, name=name, mode=mode, benchmark=benchmark, simulate=simulate, overrides=settings or ()
        )
        for note in loaded.notes:
            say(f"note: {note}")
        if (server := server_of(store)) is not None:
            refuse([("--fresh", fresh)])
            _show_result(run_on_server(server, loaded, quiet=json), None, as_json=json)
            return
        tuner = autotuner.open(store)
        if fresh and (dated := tuner.start_over(loaded.spec.name)):
            say(f"note: previous results of {loaded.spec.name} are kept as {dated}")
        result = run_live(tuner, loaded, quiet=json)
        _show_result(result, None if json else written_report(tuner, result), as_json=json)


def _show_result(result: "StudyResult", report: Path | None, *, as_json: bool) -> None:
    """Prints how a study has ended. Raises ``Exit`` with the code of an ending without an answer."""
    from autotuner.cli.exit_codes import of_ending
    from autotuner.report.terminal import result_text

    if as_json:
        out(result)
    else:
        show(result_text(result, report=report, program=program()))
    if result.state in {"interrupted", "stopped"}:
        say(f"{result.state}; resume with: {shlex.join((program(), *(a for a in sys.argv[1:] if a != '--fresh')))}")
    if not result.ending.answered:
        raise typer.Exit(int(of_ending(result.ending)))


def written_report(tuner: "Autotuner", result: "StudyResult") -> Path | None:
    """Writes the report. A checkout whose web UI was not built has none; the results are there all the same."""
    from autotuner.report.documents.page import ReportPageMissingError

    try:
        return tuner.report(result)
    except ReportPageMissingError as error:
        say(f"note: {error}")
        return None


def plan(
    file: File,
    name: StudyName = None,
    mode: Mode = None,
    benchmark: Benchmark = None,
    simulate: Simulate = None,
    settings: Set = None,
    store: StoreUrl = None,
    json: Json = False,
    verbose: Verbose = 0,
    log_file: LogFile = None,
) -> None:
    """Show what a study would launch and how long it would take. Launches nothing."""
    with reporting_errors(as_json=json), logged(verbose, log_file):
        import autotuner
        from autotuner.cli.exit_codes import ExitCode
        from autotuner.cli.texts import plan_text
        from autotuner.study.check import CheckStatus

        loaded = autotuner.read_study(
            file, name=name, mode=mode, benchmark=benchmark, simulate=simulate, overrides=settings or ()
        )
        for note in loaded.notes:
            say(f"note: {note}")
        planned = opened(store).plan(loaded)
        for note in planned.standing.notes if planned.standing else ():
            say(f"note: {note}")
        if json:
            out(planned)
        else:
            show(plan_text(planned))
        if any(c.status is CheckStatus.FAIL for c in planned.checks):
            raise typer.Exit(int(ExitCode.ENVIRONMENT))


def doctor(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Study file; optional."),
    ] = None,
    mode: Annotated[
        str | None, typer.Option("--mode", help="Deployer to check; default: the file's, else process.")
    ] = None,
    benchmark: Benchmark = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Deployer setting, or engines[1].deploy.KEY of one engine; repeatable."
        ),
    ] = None,
    store: StoreUrl = None,
    json: Json = False,
    verbose: Verbose = 0,
    log_file: LogFile = None,
) -> None:
    """Check this machine and the target, and say how to fix problems.

    With --server: the server's machine, and what can be reached from there.
    """
    with reporting_errors(as_json=json), logged(verbose, log_file):
        import autotuner
        from autotuner.cli.exit_codes import ExitCode
        from autotuner.cli.texts import doctor_text
        from autotuner.study.check import CheckStatus

        tuner = opened(store)
        if file is None:
            found = tuner.doctor(deploy=mode or "process", settings=settings or ())
        else:
            loaded = autotuner.read_study(file, mode=mode, benchmark=benchmark)
            for note in loaded.notes:
                say(f"note: {note}")
            found = tuner.doctor(loaded, settings=settings or ())
        if url := server_url():
            say(f"note: checked on {found.host}, the machine of {url}")
        if json:
            out(found)
        else:
            show(doctor_text(found))
        if found.status is CheckStatus.FAIL:
            raise typer.Exit(int(ExitCode.ENVIRONMENT))


def watch(name: Name, store: StoreUrl = None, json: Json = False) -> None:
    """Follow a study that another process runs, until it ends. With --json: one JSON event per line."""
    with reporting_errors(as_json=json):
        from autotuner.cli.live_screen import watch_live

        state = watch_live(opened(store), name, as_json=json)
        if not json:
            say(f"{name}: {state}; results: {program()} show {name}")


def stop(name: Name, store: StoreUrl = None, json: Json = False) -> None:
    """Stop a running study cleanly, or remove it from the queue. Finished trials are kept, and `run` resumes."""
    with reporting_errors(as_json=json):
        tuner = opened(store)
        waiting = any(entry.study == name and entry.position is not None for entry in tuner.queue())
        running = tuner.stop(name)
        text = f"{name}: stop requested" if running else f"{name}: not running"
        if running and waiting:
            text = f"{name}: removed from the queue"
        if json:
            out({"study": name, "running": running})
        else:
            show(text)


def reap(
    study: Annotated[str | None, typer.Option("--study", help="Only resources of this study.")] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Remove nothing; list what runs launched, in use or left behind."),
    ] = False,
    store: StoreUrl = None,
    json: Json = False,
    verbose: Verbose = 0,
    log_file: LogFile = None,
) -> None:
    """Clean up after killed runs: servers, load generators, leases. With --server, only --dry-run."""
    with reporting_errors(as_json=json), logged(verbose, log_file):
        import autotuner

        if dry_run:
            # What would be removed is on this machine, whatever server a variable names.
            tuner = opened(store) if is_given() else autotuner.open(store)
            _show_launched(tuner.launched_objects(), study, as_json=json)
            return
        if is_given():
            remedy = "add --dry-run, or run it on the server's machine"
            raise autotuner.UsageError.at("--server", "reap removes on this machine only", remedy=remedy)
        removed = autotuner.open(store).reap(study=study)
        if json:
            out({"removed": removed})
        else:
            show("\n".join(removed) if removed else "nothing to clean up")


def _show_launched(found: "LaunchedObjects", study: str | None, *, as_json: bool) -> None:
    objects = tuple(one for one in found.objects if study in {None, one.study})
    if as_json:
        out({"objects": objects, "unreachable": found.unreachable})
        return
    from autotuner.cli.fleet.page import launched_text

    show(launched_text(objects, found.unreachable))


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    for command in (run, plan, doctor, watch, stop, reap):
        app.command()(command)
