"""``-v`` and ``--log-file`` of the commands that run things."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

Verbose = Annotated[
    int,
    typer.Option(
        "-v",
        "--verbose",
        count=True,
        show_default=False,
        help="Log to stderr what happens behind the events; -vv: every API call.",
    ),
]
LogFile = Annotated[
    Path | None,
    typer.Option("--log-file", metavar="FILE", help="Append the log to this file, with every API call; no secrets."),
]


@contextmanager
def logged(verbose: int, log_file: Path | None) -> Iterator[None]:
    """Writes the log while the command runs. Raises ``UsageError`` for a file that cannot be opened."""
    if not verbose and log_file is None:
        yield
        return
    from autotuner.logs import logging_to

    with logging_to(verbose, log_file):
        yield
