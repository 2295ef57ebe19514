"""The studies of a server, with the methods of :class:`autotuner.Autotuner` that commands use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio.to_thread import run_sync
from pydantic import BaseModel

from autotuner.api import results
from autotuner.api.blocking import blocking
from autotuner.api.fleet.listing import WorkerOverview
from autotuner.api.remote.connection import ServerConnection, ServerUnreachableError
from autotuner.api.remote.records import StudyRecords
from autotuner.api.results import ServerLog
from autotuner.api.study_input import is_valid_name
from autotuner.errors import AutotunerError, NotFoundError
from autotuner.events.types import Event, UnknownEvent, parse
from autotuner.report.overview import StudyOverview
from autotuner.store import files
from autotuner.store.records import EventRecord, QueueEntry
from autotuner.study.trial import Trial

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from autotuner.api.fleet.launched import LaunchedObjects
    from autotuner.api.options import ExportForm, ReportForm
    from autotuner.api.remote.presets import RemotePresets
    from autotuner.api.remote.webhooks import RemoteWebhooks
    from autotuner.diagnosis import Diagnosis
    from autotuner.report.result import StudyResult
    from autotuner.study.capacity.result import Verification
    from autotuner.study.spec import StudySpec
    from autotuner.study_file.loader import LoadedStudy
    from autotuner.tuning.planning.plan import Plan

_PAGE = 500
_MOST_LINES = 10_000
"""Lines of a log that the server sends at most."""
_QUIET_S = 1.0
"""Time without events after which it is asked whether the study has ended."""
_RETRY_S = 2.0
_RETRIES = 30
"""How often a lost stream is opened again, before the server counts as gone: a restart takes seconds."""

OnEvent = Callable[[Event | UnknownEvent], object]


class _Page(BaseModel):
    items: list[Any]
    total: int


class _LogTail(BaseModel):
    lines: list[str]


class _Stop(BaseModel):
    stopping: bool


class RemoteStudies:
    """The studies of one server."""

    def __init__(self, url: str, token: str = "") -> None:
        """For a token of the server. Raises ``UsageError`` for a wrong URL; sends nothing yet."""
        self._server = ServerConnection(url, token)

    def overviews(
        self,
        *,
        sort: str = "age",
        state: str | None = None,
        engine: str | None = None,
        match: str | None = None,
        on_unreadable: Callable[[str], None] = lambda _: None,
    ) -> list[StudyOverview]:
        """As :meth:`autotuner.Autotuner.overviews`. The server leaves unreadable studies out, and logs them."""
        found = list[StudyOverview]()
        wanted = {"sort": sort, "state": state, "engine": engine, "match": match}
        total = 1
        offset = 0
        while offset < total:  # a page may have fewer entries than places: unreadable studies are left out
            answer = self._server.get("/studies", **wanted, limit=_PAGE, offset=offset)
            page = self._server.parsed(_Page, answer)
            found += self._server.parsed_all(StudyOverview, page.items)
            total = page.total
            offset += _PAGE
        return found

    def overview(self, name: str) -> StudyOverview:
        """As :meth:`autotuner.Autotuner.overview`."""
        return self._server.parsed(StudyOverview, self._server.get(f"/studies/{name}/overview"))

    study = overview

    def load(self, name: str) -> StudyResult:
        """As :meth:`autotuner.Autotuner.load`: the same code derives the result from the same records."""
        found = self._server.parsed(StudyRecords, self._server.get(f"/studies/{name}/records"))
        study = self._server.parsed(StudyOverview, found.study)
        return results.result_of(study, [self._server.parsed(Trial, trial) for trial in found.trials])

    def server_log(self, name: str, trial: int | None = None, *, lines: int = 100) -> ServerLog:
        """As :meth:`autotuner.Autotuner.server_log`."""
        if trial is None:
            numbers = [found.number for found in self.load(name).trials]
            if not numbers:
                raise NotFoundError.at(f"trial of {name}", "no such trial", remedy="it has no trials yet")
            trial = numbers[-1]
        found = self._log(name, trial, lines)
        if not found:
            raise AutotunerError(f"trial {trial} of {name} has no server log on the server's machine")
        return ServerLog(trial=trial, path=Path(name, "trials", f"{trial:04d}"), lines=found)

    def log_tail(self, trial: Trial, *, lines: int = 100) -> list[str]:
        """As :meth:`autotuner.Autotuner.log_tail`."""
        return self._log(trial.study, trial.number, lines) if lines else []

    def _log(self, name: str, trial: int, lines: int) -> list[str]:
        answer = self._server.get(f"/studies/{name}/trials/{trial}/log", lines=min(lines, _MOST_LINES))
        return self._server.parsed(_LogTail, answer).lines

    def verify(self, source: str) -> Verification:
        """As :meth:`autotuner.Autotuner.verify`. A folder is one of this machine; records of a study are the server's,
        which checks one trial per request, because that can take minutes for all of them."""
        from autotuner.study.capacity.result import Verification
        from autotuner.tuning.capacity_session import searched_trials, verify

        if Path(source).is_dir() or not is_valid_name(source):
            return verify(Path(source))
        try:
            result = self.load(source)
        except NotFoundError:
            return verify(Path(source))  # neither is there; the message names both
        paths = [
            f"/studies/{source}/trials/{t.number}/verification" for t in searched_trials(result.spec, result.trials)
        ]
        found = [self._server.parsed(Verification, self._server.get(path)) for path in paths]
        return Verification(holds=all(one.holds for one in found), levels=tuple(c for one in found for c in one.levels))

    def export(self, name: str, form: ExportForm = "json") -> str:
        """As :meth:`autotuner.Autotuner.export`."""
        return results.export(self.load(name), form)

    def report(self, name: str, path: Path | None = None, form: ReportForm = "html") -> Path:
        """As :meth:`autotuner.Autotuner.report`, by default into the current folder, as a browser would save it."""
        if form == "json":
            from autotuner.api.reports import render

            text = render(None, self.load(name), "json")
        else:
            text = self._server.text(f"/studies/{name}/report", form=form)
        path = path or Path(f"{name}.{form}")
        files.write_output(path, text)
        return path

    def queue(self) -> list[QueueEntry]:
        """As :meth:`autotuner.Autotuner.queue`."""
        return self._server.parsed_all(QueueEntry, self._server.get("/queue"))

    def workers(self) -> list[WorkerOverview]:
        """As :meth:`autotuner.Autotuner.workers`."""
        return self._server.parsed_all(WorkerOverview, self._server.get("/workers"))

    def launched_objects(self) -> LaunchedObjects:
        """As :meth:`autotuner.Autotuner.launched_objects`, for the server's machine and its targets."""
        from autotuner.api.fleet.launched import LaunchedObjects

        return self._server.parsed(LaunchedObjects, self._server.get("/launched-objects"))

    def webhooks(self) -> RemoteWebhooks:
        """As :meth:`autotuner.Autotuner.webhooks`."""
        from autotuner.api.remote.webhooks import RemoteWebhooks

        return RemoteWebhooks(self._server)

    def presets(self) -> RemotePresets:
        """As :meth:`autotuner.Autotuner.presets`."""
        from autotuner.api.remote.presets import RemotePresets

        return RemotePresets(self._server)

    def plan(self, loaded: LoadedStudy) -> Plan:
        """As :meth:`autotuner.Autotuner.plan`, with checks of the server's machine."""
        from autotuner.tuning.planning.plan import Plan

        body = {"study": _file(loaded), "preflight": True}
        return self._server.parsed(Plan, self._server.send("POST", "/studies/plan", body))

    def doctor(
        self,
        study: LoadedStudy | None = None,
        *,
        deploy: str = "process",
        settings: Mapping[str, Any] | Sequence[str] = (),
    ) -> Diagnosis:
        """As :meth:`autotuner.Autotuner.doctor`, for the server's machine and what can be reached from there."""
        from autotuner.diagnosis import Diagnosis
        from autotuner.study_file.machine_settings import check_no_entries, parse_settings, with_deploy_settings

        given = settings if isinstance(settings, Mapping) else parse_settings(settings)
        if study is None:
            check_no_entries(given)
            found = self._server.send("POST", "/doctor", {"deploy": deploy, "settings": given})
        else:
            spec = with_deploy_settings(study.written or study.spec, given)
            found = self._server.send("POST", "/studies/doctor", {"study": _text(spec)})
        return self._server.parsed(Diagnosis, found)

    def submit(self, loaded: LoadedStudy, *, priority: int = 0) -> QueueEntry:
        """As :meth:`autotuner.Autotuner.submit`: a stored study of the name is changed first."""
        name = loaded.spec.name
        body = {"study": _file(loaded)}
        try:
            self.overview(name)
        except NotFoundError:
            self._server.send("POST", "/studies", body)
        else:
            self._server.send("PUT", f"/studies/{name}", body)
        started = self._server.send("POST", f"/studies/{name}/start", {"priority": priority})
        return self._server.parsed(QueueEntry, started)

    def stop(self, name: str) -> bool:
        """As :meth:`autotuner.Autotuner.stop`."""
        return self._server.parsed(_Stop, self._server.send("POST", f"/studies/{name}/stop")).stopping

    def delete(self, name: str) -> None:
        """As :meth:`autotuner.Autotuner.delete`."""
        self._server.send("DELETE", f"/studies/{name}")

    def watch(self, name: str, on_event: OnEvent) -> str:
        """As :meth:`autotuner.Autotuner.watch`; it also waits while the study is in the queue."""
        return blocking(lambda: self.watch_async(name, on_event))

    async def watch_async(self, name: str, on_event: OnEvent) -> str:
        """As :meth:`autotuner.Autotuner.watch_async`; it also waits while the study is in the queue."""
        # A name that is not stored is an error now, and means "deleted" later.
        await run_sync(self.overview, name)
        send, receive = anyio.create_memory_object_stream[EventRecord](1_000)
        failed = list[AutotunerError]()
        async with send, receive, anyio.create_task_group() as tasks:
            tasks.start_soon(self._follow, name, send, failed)
            state = await self._until_end(name, receive, on_event, failed)
            tasks.cancel_scope.cancel()
        if state is None:
            raise failed[0]
        return state

    async def _until_end(
        self,
        name: str,
        events: MemoryObjectReceiveStream[EventRecord],
        on_event: OnEvent,
        failed: list[AutotunerError],
    ) -> str | None:
        """Passes events on until the study has ended; returns its state, or None if its events cannot be read."""
        ended: str | None = None
        while True:
            with anyio.move_on_after(_QUIET_S) as waiting:
                on_event(parse(await events.receive()))
            if not waiting.cancelled_caught:
                continue
            # What happened just before the end may still be on its way when the end is seen first.
            if ended is not None:
                return ended
            if failed:
                return None
            ended = await run_sync(self._ended, name)

    def _ended(self, name: str) -> str | None:
        """The state in which a study has ended; None while it runs or waits, or the server does not answer."""
        try:
            found = self.overview(name)
        except NotFoundError:
            return "deleted"
        except ServerUnreachableError:
            return None
        return None if found.running or found.position is not None else found.standing

    async def _follow(
        self, name: str, events: MemoryObjectSendStream[EventRecord], failed: list[AutotunerError]
    ) -> None:
        """Reads the stream of events, and opens it again where it was lost."""
        last = tries = 0
        while True:
            try:
                async with self._server.stream(f"/studies/{name}/events", last) as lines:
                    async for line in lines:
                        if line.startswith("data:"):
                            event = self._server.parsed(EventRecord, line.removeprefix("data:").strip())
                            await events.send(event)
                            last = event.seq
                            tries = 0
            except ServerUnreachableError as error:
                tries += 1
                if tries > _RETRIES:
                    failed.append(error)
                    return
            except NotFoundError:  # deleted: the next look at the study says so
                return
            except AutotunerError as error:
                failed.append(error)
                return
            await anyio.sleep(_RETRY_S)


def _file(loaded: LoadedStudy) -> str:
    """The study as a file, without the settings of this machine's site: those of the server's apply."""
    return _text(loaded.written or loaded.spec)


def _text(spec: StudySpec) -> str:
    from autotuner.study_file.writer import render_study

    return render_study(spec)
