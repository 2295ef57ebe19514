"""The live view of a study that runs or is followed: a table that is redrawn in place, or plain lines without a
terminal."""

import sys
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import anyio
from rich.console import Console
from rich.live import Live

from autotuner import Autotuner, Event, LoadedStudy, Plan, StudyResult, StudySpec, UnknownEvent
from autotuner.cli.app import say
from autotuner.cli.live_table import live_table
from autotuner.cli.plain_lines import PlainLines
from autotuner.cli.texts import headline
from autotuner.events.view import StudyView

if TYPE_CHECKING:
    from autotuner.api.remote.studies import RemoteStudies

T = TypeVar("T")

REDRAW_S = 0.25


class Screen:
    """Draws a study on stderr, from :meth:`start` on."""

    def __init__(self, spec: StudySpec) -> None:
        self.view = StudyView(spec.name)
        self._spec = spec
        self._console = Console(stderr=True)
        self._lines = PlainLines(say, spec)
        self._live: Live | None = None
        self._started = False

    def start(self) -> None:
        """Starts drawing."""
        self._started = True
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=False, vertical_overflow="crop")
            self._live.start()

    def take(self, event: Event | UnknownEvent) -> None:
        """Applies an event of the study."""
        self.view.apply([event])

    def redraw(self) -> None:
        """Draws the current state."""
        if self._live is not None:
            width, height = self._console.size
            table = live_table(self.view, self._spec, now=time.time(), width=width, height=height - 1)
            self._live.update(table, refresh=True)
        elif self._started:
            self._lines.update(self.view)

    def close(self) -> None:
        """Draws the final state, which stays on the terminal."""
        self.redraw()
        if self._live is not None:
            self._live.stop()

    async def show(self, work: Callable[[], Awaitable[T]]) -> T:
        """Draws while ``work`` runs, and returns its result."""
        results = list[T]()
        errors = list[Exception]()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._keep_drawing)
                try:
                    results.append(await work())
                except Exception as error:  # raised below, because the task group would wrap it in an exception group
                    errors.append(error)
                tasks.cancel_scope.cancel()
        finally:
            self.close()
        if errors:
            raise errors[0]
        return results[0]

    async def _keep_drawing(self) -> None:
        while True:
            self.redraw()
            await anyio.sleep(REDRAW_S)


def run_live(tuner: Autotuner, loaded: LoadedStudy, *, quiet: bool) -> StudyResult:
    """Runs a study and shows it on stderr."""
    spec = loaded.spec
    screen = Screen(spec)

    def show_plan(plan: Plan) -> None:
        found = plan.standing
        for note in found.notes if found else ():
            say(f"note: {note}")
        for check in plan.checks:
            say(f"note: {check.name}: {check.detail}; {check.remedy}")
        if quiet:
            return
        if found and (found.set_aside or found.former or found.reopened):
            say(f"note: {spec.name} {found.text}")
        if found and found.beginning and found.beginning.text:
            say(found.beginning.text)
        say(headline(plan, stored=found.stored if found else 0))
        screen.view.apply(tuner.events(spec.name))  # events of earlier runs, whose trials are in the table too
        screen.start()

    if quiet:
        return anyio.run(lambda: tuner.tune_async(loaded, handle_signals=True, on_plan=show_plan))
    return anyio.run(
        lambda: screen.show(
            lambda: tuner.tune_async(loaded, handle_signals=True, on_plan=show_plan, on_event=screen.take)
        )
    )


def run_on_server(server: "RemoteStudies", loaded: LoadedStudy, *, quiet: bool) -> StudyResult:
    """Puts a study into a server's queue and shows it on stderr until it ends. Ctrl-C ends the view, not the study."""
    name = loaded.spec.name
    entry = server.submit(loaded)
    say(f"{name}: number {entry.position} in the queue" if entry.position is not None else f"{name}: taken by a worker")
    if not any(worker.alive for worker in server.workers()):
        say("note: no worker is running; start one on the server: autotuner worker")
    try:
        if quiet:
            server.watch(name, lambda _: None)
        else:
            watch_live(server, name, as_json=False)
    except KeyboardInterrupt:
        say(f"{name} goes on; end it with: autotuner stop {name}")
        raise
    return server.load(name)


def watch_live(tuner: "Autotuner | RemoteStudies", name: str, *, as_json: bool) -> str:
    """Follows a study that another process runs until it ends; returns its final state."""
    if as_json:
        return tuner.watch(name, _print_event)
    record = tuner.study(name)
    screen = Screen(record.spec)
    screen.start()
    return anyio.run(lambda: screen.show(lambda: tuner.watch_async(record.name, screen.take)))


def _print_event(event: Event | UnknownEvent) -> None:
    sys.stdout.write(event.line() + "\n")
    sys.stdout.flush()
