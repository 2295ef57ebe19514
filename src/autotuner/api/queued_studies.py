"""The client's methods for the queue of studies and the workers that run them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autotuner.api.fleet.launched import LaunchedObjects
    from autotuner.api.fleet.listing import LeaseOverview, WorkerOverview
    from autotuner.api.study_input import Study
    from autotuner.store.records import QueueEntry


class QueuedStudies:
    """Studies that wait for a worker."""

    _url: str | None

    def submit(self, study: Study, *, priority: int = 0, by: str = "", source: str = "") -> QueueEntry:
        """Put a study into the queue, from which a worker takes it and runs it as :meth:`Autotuner.tune` does.

        A study that was interrupted resumes. One that is in the queue already keeps its place, with the new content.
        Paths in it must be valid on the workers.

        Args:
            study: Any form of a study, as for :meth:`Autotuner.tune`.
            priority: -1,000 to 1,000; higher ones are taken first, equal ones in the order of submission.
            by: Who submits it; empty: this user and machine.
            source: Origin of a study that is not from a file, for display.

        Returns:
            Its entry in the queue.

        Raises:
            UsageError: If the study is wrong, holds a secret, or differs from the stored one of its name.
            StudyBusyError: If it is running.

        Example:
            >>> autotuner.open().submit("study.yaml").state.value
            'queued'
        """
        from autotuner.api.fleet import submitting

        return submitting.submit(self._url, study, priority=priority, by=by, source=source)

    def queue(self) -> list[QueueEntry]:
        """The queue.

        Returns:
            The waiting studies in the order in which they will be taken, then those that workers run.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> autotuner.open().queue()
            []
        """
        from autotuner.api.fleet import listing

        return listing.queue(self._url)

    def workers(self) -> list[WorkerOverview]:
        """The workers of the last seven days, the newest first.

        Returns:
            Each with whether it is alive, and the studies that it runs.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> autotuner.open().workers()
            []
        """
        from autotuner.api.fleet import listing

        return listing.workers(self._url)

    def leases(self) -> list[LeaseOverview]:
        """What running trials hold so that no other trial uses it: GPUs and ports of machines.

        Returns:
            One entry per resource, with the trial and the process that hold it.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> autotuner.open().leases()
            []
        """
        from autotuner.api.fleet import listing

        return listing.leases(self._url)

    def launched_objects(self) -> LaunchedObjects:
        """What runs have launched and what still exists of it: processes, containers, pods. Changes nothing.

        Looks at this machine and at the targets of all stored studies, for at most a few seconds.

        Returns:
            The objects, each with whether it is in use, and the targets that cannot be reached, each with the reason.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> autotuner.open().launched_objects().unreachable
            ()
        """
        from autotuner.api.fleet import launched

        return launched.launched_objects(self._url)

    def work(
        self,
        *,
        at_most: int = 1,
        labels: Iterable[str] = (),
        lease_s: float = 20.0,
        drain_s: float = 20.0,
        verbose: int = 0,
        log_file: str = "",
        on_ready: Callable[[], object] = lambda: None,
    ) -> None:
        """Take studies from the queue and run them, until SIGINT, SIGTERM or SIGHUP.

        The first signal lets running trials go on for ``drain_s`` seconds, the second one ends them at once. Their
        studies wait in the queue again, and resume.

        Args:
            at_most: Studies to run at the same time at most.
            labels: Labels of this worker, such as ``gpu=h100``. It takes studies that need no others.
            lease_s: Seconds without a sign of life after which other workers take over its studies.
            drain_s: Seconds for which running trials may go on.
            verbose: Verbosity of the log of the processes that run the studies, 0 to 2.
            log_file: File for that log; empty: none.
            on_ready: Called once the worker is registered.

        Raises:
            UsageError: If an argument is wrong.
            StoreError: If the store cannot be opened.

        Example:
            >>> autotuner.open().work(labels=["gpu"])
            Traceback (most recent call last):
                ...
            autotuner.errors.UsageError: --label: gpu is not a label; write name=value, e.g. gpu=h100
        """
        import anyio

        from autotuner.api.fleet.settings import worker_settings
        from autotuner.api.fleet.worker import Worker

        settings = worker_settings(
            at_most=at_most, labels=labels, lease_s=lease_s, drain_s=drain_s, verbose=verbose, log_file=log_file
        )
        worker = Worker(self._url, settings)
        anyio.run(lambda: worker.run(handle_signals=True, on_ready=on_ready))

    def working_beside(self, *, at_most: int = 1, labels: Iterable[str] = ()) -> AbstractContextManager[None]:
        """Take studies from the queue and run them while something else is done, such as serving the API.

        Call it in the main thread. Its end lets running trials go on for 20 s; SIGINT or SIGTERM ends them at once.

        Args:
            at_most: As for :meth:`work`, like ``labels``.
            labels: Labels of this worker.

        Returns:
            A context manager for the time of the work.

        Raises:
            UsageError: If an argument is wrong.

        Example:
            >>> with autotuner.open().working_beside(labels=["gpu=h100"]):
            ...     pass
        """
        from autotuner.api.fleet.settings import worker_settings
        from autotuner.api.fleet.worker import working_beside

        return working_beside(self._url, worker_settings(at_most=at_most, labels=labels))
