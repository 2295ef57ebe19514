"""Commands on the queue and its workers: submit, queue, worker, workers."""

from typing import Annotated

import typer

from autotuner.cli.app import Json, LogFile, StoreUrl, Verbose, logged, out, reporting_errors, say, show
from autotuner.cli.run import Benchmark, File, Mode, Set, Simulate, StudyName
from autotuner.cli.server.where import opened

Label = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="NAME=VALUE", help="Label of this worker, e.g. gpu=h100; repeatable."),
]
StudyLimit = Annotated[int, typer.Option("--at-most", min=1, help="Studies to run at the same time at most.")]


def submit(
    file: File,
    name: StudyName = None,
    priority: Annotated[
        int, typer.Option("--priority", help="Studies with a higher priority are taken first; may be negative.")
    ] = 0,
    mode: Mode = None,
    benchmark: Benchmark = None,
    simulate: Simulate = None,
    settings: Set = None,
    store: StoreUrl = None,
    json: Json = False,
) -> None:
    """Queue a study, for a worker to run."""
    with reporting_errors(as_json=json):
        import autotuner

        loaded = autotuner.read_study(
            file, name=name, mode=mode, benchmark=benchmark, simulate=simulate, overrides=settings or ()
        )
        tuner = opened(store)
        entry = tuner.submit(loaded, priority=priority)
        if json:
            out(entry)
            return
        place = f"number {entry.position} in the queue" if entry.position is not None else "a worker has taken it"
        show(f"{entry.study}: {place}")
        if not any(worker.alive for worker in tuner.workers()):
            say("note: no worker is running; start one with: autotuner worker")


def queue(store: StoreUrl = None, json: Json = False) -> None:
    """List queued studies, and those that run."""
    with reporting_errors(as_json=json):
        import time

        tuner = opened(store)
        entries = tuner.queue()
        if json:
            out({"queue": entries})
        else:
            from autotuner.cli.fleet.page import queue_text

            hosts = {found.worker.id: found.worker.host for found in tuner.workers()}
            show(queue_text(entries, hosts, now=time.time()))


def worker(
    at_most: StudyLimit = 1,
    label: Label = None,
    drain: Annotated[
        str, typer.Option("--drain", help="How long running trials may go on after Ctrl-C or SIGTERM.")
    ] = "20s",
    lease: Annotated[
        str, typer.Option("--lease", help="Time without a sign of life after which others take over its studies.")
    ] = "20s",
    store: StoreUrl = None,
    verbose: Verbose = 0,
    log_file: LogFile = None,
) -> None:
    """Run studies from the queue.

    Ctrl-C or SIGTERM lets running trials go on for a while, a second one ends them at once; their studies wait in the
    queue again.
    """
    with reporting_errors(as_json=False), logged(verbose, log_file, server=True):
        import autotuner

        def ready() -> None:
            labels = f" with {', '.join(label)}" if label else ""
            say(f"worker{labels}: takes studies from the queue, {at_most} at a time; Ctrl-C ends it")

        autotuner.open(store).work(
            at_most=at_most,
            labels=label or (),
            drain_s=_seconds("--drain", drain),
            lease_s=_seconds("--lease", lease),
            verbose=verbose,
            log_file=str(log_file.absolute()) if log_file else "",
            on_ready=ready,
        )


def _seconds(option: str, text: str) -> float:
    """A duration such as 20s. Raises ``UsageError``."""
    from autotuner.errors import Problem, UsageError
    from autotuner.invalid_value import InvalidValueError
    from autotuner.study.text.forms import parse_duration

    try:
        return parse_duration(text)
    except InvalidValueError as error:
        raise UsageError(Problem.refused(option, error, value=text)) from None


def workers(store: StoreUrl = None, json: Json = False) -> None:
    """List workers, and what they run."""
    with reporting_errors(as_json=json):
        import time

        found = opened(store).workers()
        if json:
            out({"workers": found})
        else:
            from autotuner.cli.fleet.page import workers_text

            show(workers_text(found, now=time.time()))


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    for command in (submit, queue, worker, workers):
        app.command()(command)
