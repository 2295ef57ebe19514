"""The client's methods for backups of the whole state."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from autotuner.store.backup import BackupSummary


class Backups:
    """Backups of a store and the data directory."""

    _url: str | None

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
