"""Runs or follows a study and shows it: a table that is redrawn in place and never scrolls away, or plain lines where
there is no terminal."""

import sys
import time
from contextlib import AbstractContextManager, nullcontext

import anyio
from anyio.to_thread import run_sync
from rich.console import Console
from rich.live import Live

from autotuner.api import record_of
from autotuner.cli.app import say
from autotuner.cli.plain_lines import PlainLines
from autotuner.cli.table import live_table
from autotuner.cli.texts import headline
from autotuner.events.follow import follow, read
from autotuner.events.view import StudyView
from autotuner.report.result import StudyResult, study_result
from autotuner.store import Store
from autotuner.study.spec import StudySpec
from autotuner.study_file.loader import Loaded
from autotuner.tuning.owners import OwnerWatch
from autotuner.tuning.planning.plan import make_plan
from autotuner.tuning.planning.prepared import prepare
from autotuner.tuning.session import run_session, standing_of

_ALL = 1_000_000
"""More events than a study has."""


def run_live(loaded: Loaded, *, source: str, store_url: str | None, quiet: bool) -> StudyResult:
    """Runs a study and shows it on standard error."""

    async def work() -> StudyResult:
        spec = loaded.spec
        prepared = await prepare(spec)
        with Store.open(store_url) as store:
            found = await standing_of(prepared, store, source=source, named=loaded.named)
            for note in found.notes:
                say(f"note: {note}")
            if found.set_aside and not quiet:
                say(f"note: {spec.name} {found.text}")
            if not quiet:
                say(headline(await make_plan(prepared, preflight=False), stored=found.stored))
            view = StudyView(spec.name)
            after = store.events.last_seq(spec.name) if store.studies.get(spec.name) else 0
            view.apply(read(store, spec.name, limit=_ALL) if after else ())
            async with anyio.create_task_group() as tasks:
                if not quiet:
                    tasks.start_soon(_show, store, spec, view)
                try:
                    outcome = await run_session(prepared, store, source=source, named=loaded.named, handle_signals=True)
                except Exception as error:
                    failed = error
                    outcome = None
                tasks.cancel_scope.cancel()
            if outcome is None:
                raise failed
            return study_result(spec, outcome.state, outcome.trials, why=outcome.why)

    return anyio.run(work)


def watch_live(name: str, *, store_url: str | None, as_json: bool) -> str:
    """Follows a study that another process runs, until it ends; returns the state it ended in."""

    async def work() -> str:
        with Store.open(store_url) as store:
            record = record_of(store, name)
            if as_json:
                await _print_events(store, record.name)
            else:
                await _show(store, record.spec, StudyView(record.name), until_end=True)
            ended = store.studies.get(record.name)
            return ended.state if ended is not None else "deleted"

    return anyio.run(work)


async def _print_events(store: Store, name: str) -> None:
    owners = OwnerWatch(store)
    async for events in follow(store, name):
        for event in events:
            sys.stdout.write(event.line() + "\n")
        sys.stdout.flush()
        if not events and not await run_sync(_is_run, store, name, owners):
            return


def _is_run(store: Store, name: str, owners: OwnerWatch) -> bool:
    """Whether a living process runs the study; one that was killed says no last word."""
    record = store.studies.get(name)
    return record is not None and record.owner_id is not None and record.owner_id not in owners.dead()


async def _show(store: Store, spec: StudySpec, view: StudyView, *, until_end: bool = False) -> None:
    console = Console(stderr=True)
    live: AbstractContextManager[Live | None]
    if console.is_terminal:
        live = Live(console=console, auto_refresh=False, transient=False, vertical_overflow="crop")
    else:
        live = nullcontext()
    lines = PlainLines(say, spec)
    owners = OwnerWatch(store)
    with live as screen:
        try:
            async for events in follow(store, spec.name, after=view.seq):
                view.apply(events)
                _redraw(screen, lines, view, spec, console)
                if until_end and not events and not await run_sync(_is_run, store, spec.name, owners):
                    return
        finally:
            view.apply(read(store, spec.name, after=view.seq, limit=_ALL))
            _redraw(screen, lines, view, spec, console)


def _redraw(screen: Live | None, lines: PlainLines, view: StudyView, spec: StudySpec, console: Console) -> None:
    if screen is None:
        lines.update(view)
    else:
        width, height = console.size
        screen.update(live_table(view, spec, now=time.time(), width=width, height=height - 1), refresh=True)
