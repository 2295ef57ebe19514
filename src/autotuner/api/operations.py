"""The client's methods for what servers share: tokens, webhooks, presets, numbers, backups of the whole state."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from autotuner.api.access import Access
    from autotuner.api.presets import Presets
    from autotuner.api.webhooks.outbox import Outbox
    from autotuner.api.webhooks.sending import WebhookAttempt
    from autotuner.api.webhooks.webhooks import Webhooks
    from autotuner.store.backup import BackupSummary
    from autotuner.store.lists.totals import StoreTotals


class Operations:
    """Access to a store, what it reports, and its backups."""

    _url: str | None

    def access(self) -> Access:
        """The tokens with which clients of ``autotuner serve`` identify themselves.

        Returns:
            The tokens of this store, and the audit of what they were used for.

        Raises:
            StoreError: Not here, but by its methods, if the store cannot be used.

        Example:
            >>> autotuner.open().access().tokens()
            []
        """
        from autotuner.api.access import Access

        return Access(self._url)

    def webhooks(self) -> Webhooks:
        """Webhooks: where messages about studies and workers are sent.

        Returns:
            The webhooks of this store.

        Raises:
            StoreError: Not here, but by its methods, if the store cannot be used.

        Example:
            >>> autotuner.open().webhooks().list()
            []
        """
        from autotuner.api.webhooks.webhooks import Webhooks

        return Webhooks(self._url)

    def presets(self) -> Presets:
        """Presets: named study files, perhaps incomplete, that new studies begin with.

        Returns:
            The presets of this store.

        Raises:
            StoreError: Not here, but by its methods, if the store cannot be used.

        Example:
            >>> autotuner.open().presets().list()
            []
        """
        from autotuner.api.presets import Presets

        return Presets(self._url)

    def outbox(self, on_attempt: Callable[[WebhookAttempt], object] = lambda _: None) -> Outbox:
        """What sends the messages that wait for the webhooks of this store, on the running asyncio event loop. Several
        programs may do so at the same time.

        Args:
            on_attempt: Called after each attempt.

        Returns:
            The outbox, whose ``run`` sends until it is cancelled.

        Raises:
            StoreError: Not here, and not by it: it waits until the store can be used.

        Example:
            >>> async def main() -> None:
            ...     with anyio.move_on_after(0):
            ...         await autotuner.open().outbox().run()
            >>> anyio.run(main)
        """
        from autotuner.api.webhooks.outbox import Outbox

        return Outbox(self._url, on_attempt=on_attempt)

    def totals(self) -> StoreTotals:
        """Everything in the store in numbers: studies, trials, queue, workers, leases. It costs the database one pass
        over an index, whatever the size of the trials.

        Returns:
            The numbers, which ``/metrics`` of ``autotuner serve`` shows.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> autotuner.open().totals().studies
            {'done': 1}
        """
        from autotuner.api.reading.totals import totals

        return totals(self._url)

    def backup(self, file: str | Path) -> BackupSummary:
        """Write all studies with their results, logs and request records, and all tokens, into one file.

        Studies may run meanwhile: every trial that has ended is in the backup with all of its files. The kind of
        database does not matter, so a backup of a SQLite file can be restored into PostgreSQL.

        Args:
            file: The file to create, by convention ``*.tar.gz``; ``-`` for stdout.

        Returns:
            What was written.

        Raises:
            UsageError: If the file exists.
            StoreError: If the store cannot be read.
            OSError: If the file cannot be written.

        Example:
            >>> import tempfile
            >>> folder = tempfile.mkdtemp()
            >>> autotuner.open().backup(f"{folder}/autotuner.tar.gz").studies
            1
        """
        from autotuner.api import backup_files

        return backup_files.write(self._url, file)

    def restore(self, file: str | Path) -> BackupSummary:
        """Fill an empty store and data directory from a backup. Nothing changes if it cannot be restored whole.

        Studies that ran when the backup was written are in the state of studies whose process died: the next run
        resumes them.

        Args:
            file: A file that :meth:`backup` wrote; ``-`` for stdin.

        Returns:
            What was restored.

        Raises:
            UsageError: If the file is damaged or no backup, or if the store or the folder of a study is not empty.
            StoreError: If the store cannot be written.
            OSError: If the file cannot be read.

        Example:
            >>> autotuner.open().restore("missing.tar.gz")
            Traceback (most recent call last):
            ...
            autotuner.errors.UsageError: missing.tar.gz: no such file
        """
        from autotuner.api import backup_files

        return backup_files.restore(self._url, file)
