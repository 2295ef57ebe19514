"""Backups of the whole state: the rows of all tables, and the files of all studies, in one archive.

The archive is a gzip-compressed tar file:

- ``backup.json``: format, revision of the tables, version of the program, time, number of rows per table;
- ``tables/NAME.jsonl``: one JSON object per row;
- ``studies/...``: server logs and request records, under their paths in the data directory;
- ``complete.json``: the number of files, at the end.

It does not depend on the kind of database, so results can be moved from SQLite to PostgreSQL and back.
"""

from autotuner.store.backup.archive import BackupSummary
from autotuner.store.backup.restoring import restore
from autotuner.store.backup.writing import write_backup

__all__ = ["BackupSummary", "restore", "write_backup"]
