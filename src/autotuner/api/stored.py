"""The part of the client that reads stored studies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autotuner.api import results
from autotuner.api.results import ResultFiles

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from autotuner.api.reading.feed import EventFeed
    from autotuner.api.reading.reader import StudyReader
    from autotuner.api.results import ServerLog
    from autotuner.events.types import Event, UnknownEvent
    from autotuner.report.overview import StudyOverview
    from autotuner.report.result import StudyResult
    from autotuner.report.views.latencies import WindowLatencies
    from autotuner.report.views.trial_history import TrialHistory
    from autotuner.store.records import StudyRecord
    from autotuner.study.capacity.result import Verification
    from autotuner.study.trial import Trial


class StoredStudies(ResultFiles):
    """The studies of one store, for reading."""

    def __init__(self, store: str | None = None) -> None:
        """Uses the store at a SQLAlchemy URL; None: ``$AUTOTUNER_STORE``, else SQLite under ``$AUTOTUNER_HOME``."""
        self._url = store

    def reader(self) -> StudyReader:
        """A reader for programs that read the same studies again and again, such as a server.

        Returns:
            A reader that remembers what it has read, and reads from the store only what has changed.

        Raises:
            StoreError: Not here, but by its methods, if the store cannot be read.

        Example:
            >>> autotuner.open().reader().studies().total
            1
        """
        from autotuner.api.reading.reader import StudyReader

        return StudyReader(self._url)

    def feed(self) -> EventFeed:
        """Events as they happen, for programs that pass them on to many readers, such as a server. The store is polled
        once for all readers, instead of once for each as by :meth:`Autotuner.stream`.

        Returns:
            A feed for the running event loop.

        Raises:
            StoreError: Not here, but by its methods, if the store cannot be read.

        Example:
            >>> autotuner.open().feed().readers
            0
        """
        from autotuner.api.reading.feed import EventFeed

        return EventFeed(self._url)

    def kept_open(self) -> AbstractContextManager[None]:
        """Keep the store's connections open, for programs that use it all the time. Without this, each call opens and
        closes the store.

        Returns:
            A context manager; connections are closed at the end of its block.

        Raises:
            StoreError: Not here, but by methods, if the store cannot be used.

        Example:
            >>> tuner = autotuner.open()
            >>> with tuner.kept_open():
            ...     tuner.is_stored("chat-8b")
            True
        """
        from autotuner.store.kept import keeping
        from autotuner.store.paths import default_url

        return keeping(self._url or default_url())

    def load(self, name: str) -> StudyResult:
        """The stored result of a study, finished or not.

        Args:
            name: The study's name, or the path of its file.

        Returns:
            The result so far, even while another process runs the study.

        Raises:
            UsageError: If the study is not stored.

        Example:
            >>> result = autotuner.load_result("chat-8b")
            >>> result.ending.proven, len(result.trials) > 1
            (True, True)
        """
        return results.load(self._url, name)

    def is_stored(self, name: str) -> bool:
        """Whether a study of this name is stored. Unlike other methods, it takes no path of a file.

        Args:
            name: The study's name.

        Returns:
            True even if the stored study cannot be read.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> autotuner.open().is_stored("not-stored")
            False
        """
        return results.is_stored(self._url, name)

    def study(self, name: str) -> StudyRecord:
        """One stored study, without its trials.

        Args:
            name: The study's name, or the path of its file.

        Returns:
            Its spec, state, source and times (seconds since the epoch).

        Raises:
            UsageError: If the study is not stored.

        Example:
            >>> autotuner.open().study("chat-8b").state
            'done'
        """
        return results.record(self._url, name)

    def studies(self) -> list[StudyRecord]:
        """All stored studies, most recently changed first.

        Returns:
            One record per study.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> [record.name for record in autotuner.list_studies()]
            ['chat-8b']
        """
        return results.studies(self._url)

    def overviews(
        self,
        *,
        sort: str = "age",
        state: str | None = None,
        engine: str | None = None,
        match: str | None = None,
        on_unreadable: Callable[[str], None] = lambda _: None,
    ) -> list[StudyOverview]:
        """Stored studies with their progress and result so far, by default all, most recently changed first.

        Args:
            sort: ``age``, ``name``, ``state``, ``gain`` or ``launches``.
            state: Only studies in this state, such as ``running`` or ``cut off``.
            engine: Only studies of this engine.
            match: Only names that match this pattern, with ``*`` and ``?``.
            on_unreadable: Called with one line for each study that is left out because its rows are damaged.

        Returns:
            One overview per study.

        Raises:
            UsageError: If the order is unknown.
            StoreError: If the store cannot be read.

        Example:
            >>> [(found.name, found.running) for found in autotuner.open().overviews()]
            [('chat-8b', False)]
        """
        from autotuner.api.reading.reader import StudyReader

        reader = StudyReader(self._url)
        found = reader.studies(
            sort=sort, state=state, engine=engine, match=match, limit=None, on_unreadable=on_unreadable
        )
        return list(found.items)

    def overview(self, name: str) -> StudyOverview:
        """One stored study with its progress and its answer so far.

        Args:
            name: The study's name, or the path of its file.

        Returns:
            The overview, as in :meth:`overviews`.

        Raises:
            UsageError: If the study is not stored.

        Example:
            >>> autotuner.open().overview("chat-8b").running
            False
        """
        return results.overview(self._url, name)

    def events(self, name: str, *, after: int = 0) -> Sequence[Event | UnknownEvent]:
        """The stored events of a study, oldest first.

        Args:
            name: The study's name.
            after: Only events whose ``seq`` is larger.

        Returns:
            The events; empty if the study is not stored. ``UnknownEvent`` represents a row of a newer version.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> autotuner.open().events("chat-8b")[0].kind
            'study_started'
        """
        from autotuner.api import running

        return running.events(self._url, name, after=after)

    def server_log(self, name: str, trial: int | None = None, *, lines: int = 100) -> ServerLog:
        """The end of a trial's server log.

        Args:
            name: The study's name, or the path of its file.
            trial: The trial's number; None: the newest trial.
            lines: Maximum number of lines.

        Returns:
            Trial number, path of the log, and its last lines without secrets.

        Raises:
            UsageError: If there is no such study or trial.
            AutotunerError: If the log is gone.

        Example:
            >>> autotuner.open().server_log("chat-8b", lines=1).lines
            ['a line']
        """
        return results.server_log(self._url, name, trial, lines=lines)

    def log_tail(self, trial: Trial, *, lines: int = 100) -> list[str]:
        """The end of a trial's server log, or the lines stored with its failure if the file is gone.

        Args:
            trial: A trial of a result.
            lines: Maximum number of lines.

        Returns:
            The lines, without secrets; empty if there is no log.

        Raises:
            OSError: If the log cannot be read.

        Example:
            >>> result = autotuner.load_result("chat-8b")
            >>> autotuner.open().log_tail(result.trials[-1], lines=1)
            ['a line']
        """
        return results.log_tail(trial, lines=lines)

    def latencies(self, name: str, trial: int, window: str = "measurements.0") -> WindowLatencies:
        """The latencies of one window from its request records: histograms, and points of their distribution.

        Args:
            name: The study's name, or the path of its file.
            trial: The trial's number.
            window: Place of the window in ``show STUDY TRIAL --json``: ``measurements.0``, ``looks.0`` or
                ``capacities.0.levels.3``.

        Returns:
            One distribution per latency that the window has, with the stored statistics and the study's SLOs. If the
            request records are not on this machine, there are none, and ``missing`` says so.

        Raises:
            NotFoundError: If the study, the trial or the window does not exist.

        Example:
            >>> autotuner.open().latencies("chat-8b", 0, "measurements.7")
            Traceback (most recent call last):
            autotuner.errors.NotFoundError: window of trial 0 = measurements.7: no such window
        """
        from autotuner.api import trial_plots

        return trial_plots.latencies(self._url, name, trial, window)

    def trial_history(self, name: str, trial: int) -> TrialHistory:
        """Phases of a trial, and what its server and its GPUs reported meanwhile.

        Args:
            name: The study's name, or the path of its file.
            trial: The trial's number.

        Returns:
            Charts with at most a few hundred points per line; none if nothing was sampled, or not on this machine.

        Raises:
            NotFoundError: If the study or the trial does not exist.

        Example:
            >>> autotuner.open().trial_history("chat-8b", 0).charts
            ()
        """
        from autotuner.api import trial_plots

        return trial_plots.history(self._url, name, trial)

    def verify_trial(self, name: str, trial: int) -> Verification:
        """Recompute the capacities of one trial from its request records, as :meth:`verify` does for all of a study.

        Args:
            name: The study's name, or the path of its file.
            trial: The trial's number.

        Returns:
            Whether they hold, and the problem of each level whose records do not support its decision.

        Raises:
            UsageError: If the study or the trial does not exist, or the trial searched for no capacity.

        Example:
            >>> autotuner.open().verify_trial("chat-8b", 0)
            Traceback (most recent call last):
            autotuner.errors.UsageError: STUDY = chat-8b: searched for no capacity; run it with load: capacity
        """
        from autotuner.tuning.capacity_session import verify_study

        result = results.load(self._url, name)
        return verify_study(result.spec, [result.trial(trial)])

    def verify(self, source: str | Path) -> Verification:
        """Recompute the certificates of capacities from their request records.

        Args:
            source: The folder that :meth:`capacity` wrote to, or the name of a study with ``load: capacity``.

        Returns:
            Whether all of them hold, and the problem of each level whose records do not support its decision.

        Raises:
            UsageError: If there is neither a certificate in the folder nor a stored study of this name.

        Example:
            >>> autotuner.verify_capacity("chat-8b")
            Traceback (most recent call last):
            autotuner.errors.UsageError: STUDY = chat-8b: searched for no capacity; run it with load: capacity
        """
        from autotuner.errors import UsageError
        from autotuner.tuning.capacity_session import CERTIFICATE, verify, verify_study

        if not (Path(source) / CERTIFICATE).exists():
            try:
                result = results.load(self._url, str(source))
            except UsageError:
                pass  # neither is there; the folder's message names both
            else:
                return verify_study(result.spec, result.trials)
        return verify(Path(source))
