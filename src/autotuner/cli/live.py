"""The live table: what runs, what was set, how fast it is and whether the SLOs hold. It is redrawn in place and never
scrolls away; where there is no terminal, one plain line per change is printed instead."""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import anyio
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from autotuner.cli.app import say
from autotuner.cli.texts import duration_text, headline
from autotuner.report.result import StudyResult, study_result
from autotuner.store import Store
from autotuner.study.errors import Problem, UsageError
from autotuner.study.loader import Loaded
from autotuner.study.objective import Objective
from autotuner.study.simulated import MARK
from autotuner.study.spec import StudySpec
from autotuner.study.trial import TrialRole
from autotuner.tuning.follow import follow
from autotuner.tuning.plan import make_plan
from autotuner.tuning.preparing import prepare
from autotuner.tuning.session import run_session
from autotuner.tuning.view import Row, StudyView

Draw = Callable[[StudyView], None]


def run_live(loaded: Loaded, *, source: str, store_url: str | None, quiet: bool) -> StudyResult:
    """Runs a study and shows it on standard error."""

    async def work() -> StudyResult:
        spec = loaded.spec
        prepared = await prepare(spec)
        with Store.open(store_url) as store:
            if not quiet:
                say(headline(await make_plan(prepared, preflight=False), stored=_stored(store, spec.name)))
            view = StudyView(spec.name)
            after = store.last_seq(spec.name) if store.study(spec.name) else 0
            view.apply(_history(store, spec.name, after))
            async with anyio.create_task_group() as tasks:
                if not quiet:
                    tasks.start_soon(_show, store, spec, view)
                try:
                    outcome = await run_session(prepared, store, source=source, handle_signals=True)
                except Exception as error:
                    failed, outcome = error, None
                tasks.cancel_scope.cancel()
            if outcome is None:
                raise failed
            return study_result(spec, outcome.state, outcome.trials, why=outcome.why)

    return anyio.run(work)


def watch_live(name: str, *, store_url: str | None, as_json: bool) -> None:
    """Follows a study that another process runs, until it ends."""

    async def work() -> None:
        with Store.open(store_url) as store:
            record = store.study(name)
            if record is None:
                raise UsageError(Problem(where="study", value=name, why="not in the store", remedy="autotuner list"))
            if as_json:
                await _print_events(store, name)
            else:
                await _show(store, record.spec, StudyView(name), until_end=True)

    anyio.run(work)


async def _print_events(store: Store, name: str) -> None:
    state = ""
    async for events in follow(store, name):
        for event in events:
            sys.stdout.write(event.model_dump_json() + "\n")
            state = {"study_started": "running", "study_finished": "ended"}.get(event.kind, state)
        sys.stdout.flush()
        if not events and state == "ended":
            return


async def _show(store: Store, spec: StudySpec, view: StudyView, *, until_end: bool = False) -> None:
    console = Console(stderr=True)
    live: AbstractContextManager[Live | None]
    if console.is_terminal:
        live = Live(console=console, auto_refresh=False, transient=False, vertical_overflow="crop")
    else:
        live = nullcontext()
    lines = PlainLines(spec)
    with live as screen:
        try:
            async for events in follow(store, spec.name, after=view.seq):
                view.apply(events)
                _redraw(screen, lines, view, spec, console)
                if until_end and not events and view.state not in {"new", "running"}:
                    return
        finally:
            view.apply(store.events(spec.name, after=view.seq, limit=100_000))
            _redraw(screen, lines, view, spec, console)


def _redraw(screen: Live | None, lines: "PlainLines", view: StudyView, spec: StudySpec, console: Console) -> None:
    if screen is None:
        lines.update(view)
    else:
        screen.update(table(view, spec.objectives[0], now=time.time(), height=console.height), refresh=True)


def table(view: StudyView, objective: Objective, *, now: float, height: int) -> Group:
    """The whole picture, cut to the terminal's height: the default, the best and the latest rows stay."""
    grid = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    for title, justify in (
        ("trial", "right"), ("phase", "left"), ("what is set", "left"),
        ("tokens/s", "right"), ("p99 TTFT", "right"), ("SLO", "left"), ("", "left"),
    ):  # fmt: skip
        grid.add_column(title, justify=justify, no_wrap=title != "what is set")  # type: ignore[arg-type]
    best = best_row(view, objective)
    rows = _shown_rows(view, best, max(4, height - 8))
    for row in rows:
        grid.add_row(*_cells(row, best is row))
    warning = view.simulated()
    warned = [Text(f"! {warning}", style="bold yellow")] if warning else []
    parts: list[Text | Table] = [_status(view, best, now), *warned, grid]
    hidden = len(view.rows) - len(rows)
    if hidden:
        parts.append(Text(f"… and {hidden} more rows", style="dim"))
    parts += [Text(f"! {notice}", style="yellow", overflow="ellipsis", no_wrap=True) for notice in view.notices[-2:]]
    return Group(*parts)


def best_row(view: StudyView, objective: Objective) -> Row | None:
    """The best feasible row by the first objective, repeats aside."""
    found = [r for r in view.finished() if r.feasible and r.objective is not None and r.role is not TrialRole.CONFIRM]
    pick = max if objective.direction.value == "max" else min
    return pick(found, key=lambda r: r.objective or 0.0) if found else None


def _shown_rows(view: StudyView, best: Row | None, limit: int) -> list[Row]:
    rows = list(view.rows.values())
    if len(rows) <= limit:
        return rows
    kept = {id(rows[0]), id(best), *(id(r) for r in rows[-(limit - 2) :])}
    return [r for r in rows if id(r) in kept]


def _status(view: StudyView, best: Row | None, now: float) -> Text:
    text = Text()
    text.append(view.study, style="bold")
    text.append(f"  {len(view.finished())} of at most {view.planned()} launches")
    if view.started_at is not None and view.state == "running":
        text.append(f"  {duration_text(now - view.started_at)} so far")
    eta = view.eta_s(now)
    if eta is not None:
        text.append(f", about {duration_text(eta)} to go")
    if view.state != "running":
        text.append(f"  {view.state}")
    if best is not None:
        text.append(f"  best so far: trial {best.number} {best.configuration.text}", style="green")
    return text


def _cells(row: Row, best: bool) -> list[Text]:
    phase = row.phase
    if row.phase in {"warming", "measuring"} and row.total_s:
        phase = f"{row.phase} {min(row.elapsed_s, row.total_s):.0f}/{row.total_s:.0f} s"
    what = row.configuration.text
    if row.role is TrialRole.CONFIRM:
        what = f"repeat of {row.repeat_of}: {what}"
    if row.gpus:
        what = f"{what}, {row.gpus} GPU{'s' if row.gpus > 1 else ''}"
    if row.simulated:
        what = f"{what} ({MARK})"
    slo = {True: Text("met", style="green"), False: Text("not met", style="red"), None: Text("")}[row.feasible]
    if row.state == "failed":
        slo = Text("failed", style="red")
    if row.state == "void":
        slo = Text("not counted", style="yellow")
    rate = f"{row.output_throughput:,.0f}" if row.output_throughput is not None else ""
    wait = f"{row.p99_ttft * 1000:,.0f} ms" if row.p99_ttft is not None else ""
    style = "bold green" if best else ""
    mark = "best" if best else ""
    note = Text(row.note or mark, style="red" if row.note else "green", overflow="ellipsis")
    return [
        Text(str(row.number), style=style),
        Text(phase),
        Text(what, style=style),
        Text(rate, style=style),
        Text(wait),
        slo,
        note,
    ]


class PlainLines:
    """One line per change, for logs and pipes."""

    def __init__(self, spec: StudySpec) -> None:
        self._said: dict[int, str] = {}
        self._notices = 0
        self._warned = ""

    def update(self, view: StudyView) -> None:
        """Prints what is new."""
        for notice in view.notices[self._notices :]:
            say(f"! {notice}")
        self._notices = len(view.notices)
        warning = view.simulated()
        if warning.partition(":")[0] != self._warned:
            self._warned = warning.partition(":")[0]
            say(f"! {warning}")
        for row in view.rows.values():
            now = row.state if row.phase == "done" else row.phase
            if self._said.get(row.number) != now and now in {"launching", "measuring", "done", "failed", "void"}:
                self._said[row.number] = now
                say(_plain(row, now))


def _plain(row: Row, now: str) -> str:
    cells = [c.plain for c in _cells(row, best=False)]
    what, rate, wait, slo = cells[2], cells[3], cells[4], cells[5]
    if now in {"launching", "measuring"}:
        return f"trial {row.number}  {now:9}  {what}"
    measured = "  ".join(p for p in (f"{rate} tokens/s" if rate else "", f"p99 TTFT {wait}" if wait else "", slo) if p)
    return f"trial {row.number}  {now:9}  {what}  {measured}" + (f"  {row.note}" if row.note else "")


def _stored(store: Store, name: str) -> int:
    return sum(t.state.finished for t in store.trials(name)) if store.study(name) else 0


def _history(store: Store, name: str, until: int) -> list:  # type: ignore[type-arg]
    return store.events(name, after=0, limit=1_000_000) if until else []
