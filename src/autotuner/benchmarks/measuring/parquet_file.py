"""Parquet files of a trial, private and complete: readers find either a whole file or none."""

import os
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from arro3.core import Table
from arro3.io import read_parquet, write_parquet

from autotuner.store.files import private_file


def write_table(path: Path, table: Table) -> None:
    """Writes a file under a temporary name and renames it. Raises ``OSError`` and then leaves nothing behind.

    The Parquet library only writes to memory, because it panics on a full disk instead of raising an error.
    """
    content = BytesIO()
    write_parquet(table, content, compression="zstd(3)")
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        private_file(beside)
        beside.write_bytes(content.getbuffer())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_table(file: BinaryIO, wrong: str) -> Table:
    """A whole Parquet file. Raises ``ValueError``, beginning with ``wrong``, for anything else."""
    try:
        return read_parquet(file).read_all()
    except Exception as error:  # the library has error types of its own
        raise ValueError(f"{wrong}: {error}") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # raised by the library for a corrupt footer
            raise
        raise ValueError(f"{wrong}: not a complete Parquet file") from None
