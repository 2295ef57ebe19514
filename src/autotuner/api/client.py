"""The client of the Python API: one object per store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autotuner.api.operations import Operations
from autotuner.api.queued_studies import QueuedStudies
from autotuner.api.running_servers import RunningServers
from autotuner.api.stored import StoredStudies

if TYPE_CHECKING:
    from pathlib import Path

    from autotuner.api.clients.studies import ClientStudies
    from autotuner.api.study_input import Study
    from autotuner.diagnosis import Diagnosis
    from autotuner.events.types import Event, UnknownEvent
    from autotuner.report.result import StudyResult
    from autotuner.study.owner import Owner
    from autotuner.tuning.planning.plan import Plan


def open(store: str | None = None) -> Autotuner:  # noqa: A001 - like gzip.open, it is used as autotuner.open
    """The client for a store.

    Args:
        store: SQLAlchemy URL of the store; None: ``$AUTOTUNER_STORE``, else SQLite under ``$AUTOTUNER_HOME``.

    Returns:
        The client. The store is opened by each call that needs it, and created by the first run.

    Raises:
        StoreError: Not here, but by methods, if the store cannot be used.

    Example:
        >>> tuner = autotuner.open()
        >>> [record.name for record in tuner.studies()]
        ['chat-8b']
    """
    return Autotuner(store)


class Autotuner(StoredStudies, QueuedStudies, RunningServers, Operations):
    """The studies of one store, created with :func:`autotuner.open`.

    The object holds no connection: each call opens and closes the store. There is nothing to close, and one object may
    be used from several threads.

    All methods raise subclasses of :class:`autotuner.AutotunerError` for errors that the user can correct:
    ``UsageError`` for a wrong study or argument, ``StoreError`` for a store that cannot be used, and others that the
    methods name.
    """

    def tune(
        self,
        study: Study,
        *,
        source: str = "",
        handle_signals: bool = False,
        on_start: Callable[[Owner], object] | None = None,
        on_plan: Callable[[Plan], object] | None = None,
        on_event: Callable[[Event], object] | None = None,
    ) -> StudyResult:
        """Run a study to its end and return its result; resumes automatically if it was interrupted.

        Blocks until the study ends. Inside a running event loop, await :meth:`tune_async` instead.

        Args:
            study: Path of a study file, its content as a mapping, or what :func:`autotuner.read_study` returned.
            source: Origin of a study that is not from a file, for display.
            handle_signals: End the study cleanly on SIGINT, SIGTERM and SIGHUP; its state is then ``interrupted``.
            on_start: Called with the owner (id, host, pid) before the first launch.
            on_plan: Called with the plan, without checks of the environment, before the first launch.
            on_event: Called with each event of this run, in order, within about 0.25 s. If it raises an exception, the
                study ends cleanly and can be resumed, and the exception is raised here.

        Returns:
            The result. Its ``winner`` is None when no configuration met the SLOs.

        Raises:
            UsageError: If the study is wrong, or differs from the stored one of its name; nothing is launched.
            PreflightError: If the environment is not ready; nothing is launched.
            StudyBusyError: If another process runs this study.

        Example:
            >>> result = autotuner.tune("study.yaml", on_event=lambda event: None)
            >>> result.state
            'done'
        """
        from autotuner.api.blocking import blocking, in_event_loop
        from autotuner.errors import UsageError

        if in_event_loop():
            remedy = "use: await autotuner.tune_async(...)"
            raise UsageError.at("tune", "would block the running event loop", remedy=remedy)
        return blocking(
            lambda: self.tune_async(
                study,
                source=source,
                handle_signals=handle_signals,
                on_start=on_start,
                on_plan=on_plan,
                on_event=on_event,
            )
        )

    async def tune_async(
        self,
        study: Study,
        *,
        source: str = "",
        handle_signals: bool = False,
        on_start: Callable[[Owner], object] | None = None,
        on_plan: Callable[[Plan], object] | None = None,
        on_event: Callable[[Event], object] | None = None,
    ) -> StudyResult:
        """Like :meth:`tune`, on the running asyncio event loop. Cancelling it ends the study cleanly.

        Args:
            study: As for :meth:`tune`, like all other arguments.

        Returns:
            The result.

        Raises:
            AutotunerError: As for :meth:`tune`.

        Example:
            >>> asyncio.run(autotuner.tune_async("study.yaml")).state
            'done'
        """
        from autotuner.api import running

        return await running.tune(
            self._url,
            study,
            source=source,
            handle_signals=handle_signals,
            on_start=on_start,
            on_plan=on_plan,
            on_event=on_event,
        )

    def plan(self, study: Study, *, preflight: bool = True, source: str = "", stored: bool = True) -> Plan:
        """Plan a study: what it would launch, and how long it takes at most. Nothing is started.

        Args:
            study: Any form of a study, as for :meth:`tune`.
            preflight: Check the machine and the deployment target as well.
            source: Origin of a study that is not from a file.
            stored: Compare with the results that are stored under the study's name.

        Returns:
            The plan: launches, repeats, estimated seconds, checks, and ``standing`` relative to the stored results.

        Raises:
            UsageError: If the study cannot run, or not under its name.

        Example:
            >>> [check.name for check in autotuner.plan_study("study.yaml").checks if check.status == "fail"]
            []
        """
        from autotuner.api import running

        return running.plan(self._url, study, preflight=preflight, source=source, stored=stored)

    def doctor(
        self,
        study: Study | None = None,
        *,
        deploy: str = "process",
        settings: Mapping[str, Any] | Sequence[str] = (),
    ) -> Diagnosis:
        """Check this machine and the deployment target; nothing is started.

        Args:
            study: Check everything that this study needs; None: check the target of ``deploy``.
            deploy: Kind of deployer, if there is no study.
            settings: Settings of the deployer that override all others, as a mapping or as ``KEY=VALUE`` strings. In a
                study with several engines, ``engines[1].deploy.KEY`` is a setting of one entry, and ``KEY`` one of all
                entries, which must then have the same kind of deployer.

        Returns:
            All checks with status, detail and remedy; ``status`` is the worst of them.

        Raises:
            UsageError: If a setting is wrong.

        Example:
            >>> autotuner.doctor(deploy="process").deploy
            'process'
        """
        from autotuner.api import running

        return running.doctor(self._url, study, deploy=deploy, settings=settings)

    def watch(self, name: str, on_event: Callable[[Event | UnknownEvent], object]) -> str:
        """Follow a study that another process runs, until it ends.

        Args:
            name: The study's name, or the path of its file.
            on_event: Called with each event, beginning with the study's first one.

        Returns:
            The state in which it ended, such as ``done``; ``cut off`` if its run was killed, and ``deleted`` if it was
            removed meanwhile.

        Raises:
            UsageError: If the study is not stored.

        Example:
            >>> autotuner.open().watch("chat-8b", lambda event: None)
            'done'
        """
        from autotuner.api.blocking import blocking

        return blocking(lambda: self.watch_async(name, on_event))

    async def watch_async(self, name: str, on_event: Callable[[Event | UnknownEvent], object]) -> str:
        """Like :meth:`watch`, on the running asyncio event loop.

        Args:
            name: The study's name, or the path of its file.
            on_event: Called with each event, beginning with the study's first one.

        Returns:
            The state in which it ended.

        Raises:
            UsageError: If the study is not stored.

        Example:
            >>> asyncio.run(autotuner.open().watch_async("chat-8b", lambda event: None))
            'done'
        """
        from autotuner.api import running

        return await running.watch(self._url, name, on_event)

    def stream(self, name: str, *, after: int = 0) -> AsyncGenerator[Sequence[Event | UnknownEvent]]:
        """The events of a study as they happen, on the running asyncio event loop.

        Unlike :meth:`watch_async`, it does not end with the study, which may be resumed, but when the study is deleted.

        Args:
            name: The study's name.
            after: Only events whose ``seq`` is larger.

        Returns:
            An iterator over batches of events, at least one every 0.25 s; a batch without events says that there are
            none at the moment.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> async def first():
            ...     async for events in autotuner.open().stream("chat-8b"):
            ...         return events[0].kind
            >>> asyncio.run(first())
            'study_started'
        """
        from autotuner.api import running

        return running.stream(self._url, name, after=after)

    def stop(self, name: str) -> bool:
        """Ask the process that runs a study to end cleanly, or remove the study from the queue. Finished trials are
        kept, and :meth:`tune` resumes.

        Args:
            name: The study's name, or the path of its file.

        Returns:
            False if no process runs it and it is not in the queue.

        Raises:
            UsageError: If the study is not stored.

        Example:
            >>> autotuner.stop_study("chat-8b")
            False
        """
        from autotuner.api import running

        return running.stop(self._url, name)

    def start_over(self, name: str) -> str:
        """Rename a stored study to a dated name, so that the next run of its file starts from scratch.

        Args:
            name: The study's name.

        Returns:
            The new name of the stored results; empty if nothing is stored under ``name``.

        Raises:
            AutotunerError: If a process runs the study.

        Example:
            >>> autotuner.open().start_over("not-stored")
            ''
        """
        from autotuner.api import running

        return running.start_over(self._url, name)

    def delete(self, name: str) -> None:
        """Remove a study with all its results and files.

        Args:
            name: The study's name, or the path of its file.

        Raises:
            UsageError: If the study is not stored.
            AutotunerError: If a process runs it.

        Example:
            >>> autotuner.delete_study("chat-8b")
        """
        from autotuner.api import running

        running.delete(self._url, name)

    def client_studies(self, *, roots: Sequence[Path] = (), trusted: bool = False, by: str) -> ClientStudies:
        """The studies as a client of ``autotuner serve`` may create, edit and start them.

        Args:
            roots: Folders whose files the client may name.
            trusted: Whether it is an administrator, who may choose commands, images and variables.
            by: Name of the client.

        Returns:
            The studies of this store.

        Raises:
            StoreError: Not here, but by its methods, if the store cannot be used.

        Example:
            >>> autotuner.open().client_studies(by="ci").file("chat-8b").splitlines()[0]
            'name: chat-8b'
        """
        from autotuner.api.clients.studies import ClientStudies

        return ClientStudies(self._url, roots=roots, trusted=trusted, by=by)

    def reap(self, *, study: str | None = None) -> list[str]:
        """Remove what dead runs left behind: servers, load generators, leases. Active runs are not affected.

        Args:
            study: Only what belongs to this study; None: everything.

        Returns:
            One line per removed object.

        Raises:
            AutotunerError: If a deployment target cannot be reached.

        Example:
            >>> autotuner.reap()
            []
        """
        from autotuner.api import running

        return running.reap(self._url, study=study)
