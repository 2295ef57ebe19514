"""Logging for operators: details behind the events, to diagnose a start that fails.

Every module logs to its own logger below ``autotuner`` at DEBUG and INFO. Nothing is written until :func:`logging_to`
installs a handler, so the program is silent without ``-v`` and ``--log-file``. Every record passes through a
:class:`SecretFilter`.
"""

import logging
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from autotuner.errors import AutotunerError, UsageError
from autotuner.plain_text import escape_unprintable
from autotuner.secrets import clean_text

ROOT = "autotuner"
_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-5s %(name)s: %(message)s"
_TIME = "%Y-%m-%d %H:%M:%S"

logger = logging.getLogger(__name__)


class SecretFilter(logging.Filter):
    """Removes secrets from a record's message and traceback. Belongs on the handler, which receives every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Cleans the record in place. Always returns True."""
        record.msg = clean_text(record.getMessage())
        record.args = None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = clean_text(record.exc_text)
        return True


class _OneLine(logging.Formatter):
    """Escapes control characters, so that text from a server can neither move the cursor nor forge a record."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return escape_unprintable(text, keep="\n\t").replace("\n", "\n    ")


class _Terminal(logging.StreamHandler[TextIO]):
    """Writes to the current ``sys.stderr``: a live display replaces it to print records above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


class _File(logging.StreamHandler[TextIO]):
    """Appends to a file. If that fails, as on a full disk, it reports this once and stops; the command continues."""

    def __init__(self, path: Path) -> None:
        """Raises OSError or ValueError for a path that cannot be opened."""
        self._path = path
        # Path.open takes no opener.
        file = open(path, "a", encoding="utf-8", errors="backslashreplace", buffering=1, opener=_open)  # noqa: SIM115
        os.set_blocking(file.fileno(), True)
        super().__init__(file)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        logging.getLogger(ROOT).removeHandler(self)
        error = sys.exc_info()[1]
        sys.stderr.write(f"autotuner: log file {self._path}: {error}; logging to it has stopped\n")

    def close(self) -> None:
        with suppress(OSError):  # the disk is still full
            self.stream.close()
        super().close()


def _open(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a pipe without a reader would block before the command has printed anything.
    return os.open(path, flags | os.O_NONBLOCK, 0o666)


class FailureLog:
    """Log of work that is done again and again. A failure that repeats is written once, until the work has succeeded in
    between: it would otherwise fill the log many times per second."""

    def __init__(self, log: logging.Logger, work: str) -> None:
        """Writes to a logger; ``work`` says in one phrase what failed."""
        self._log = log
        self._work = work
        self._last = ""

    def failed(self, error: Exception) -> None:
        """Writes a warning about an error that users can act on; for any other, an error with its traceback."""
        shown = f"{type(error).__name__}: {error}"
        if shown == self._last:
            return
        self._last = shown
        if isinstance(error, AutotunerError):
            self._log.warning("%s: %s", self._work, error)
        else:
            self._log.error("%s: %s", self._work, shown, exc_info=error)

    def succeeded(self) -> None:
        """The next failure is written, even if it is the same as the last one."""
        self._last = ""


@contextmanager
def logging_to(
    verbosity: int = 0, file: Path | None = None, *, warnings: bool = False, others: Sequence[str] = ()
) -> Iterator[None]:
    """Writes the log while the context is active.

    Args:
        verbosity: Level of the log on stderr: 0 nothing, 1 INFO, 2 or more DEBUG.
        file: File to append the DEBUG log to; None: no file.
        warnings: Write warnings and errors to stderr even at verbosity 0.
        others: Loggers of libraries whose warnings belong to the log.

    Raises:
        UsageError: If the file cannot be opened for appending.
    """
    handlers: list[tuple[logging.Handler, int]] = []
    if verbosity > 0:
        handlers.append((_Terminal(), logging.DEBUG if verbosity > 1 else logging.INFO))
    elif warnings:
        handlers.append((_Terminal(), logging.WARNING))
    if file is not None:
        try:
            handlers.append((_File(file), logging.DEBUG))
        except (OSError, ValueError) as error:
            why = f"cannot be opened for writing ({getattr(error, 'strerror', None) or error})"
            remedy = "name a file in a folder that exists"
            raise UsageError.at("--log-file", why, value=str(file), remedy=remedy) from None
    root = logging.getLogger(ROOT)
    libraries = [logging.getLogger(name) for name in others]
    level_before = root.level
    for handler, level in handlers:
        handler.setLevel(level)
        handler.setFormatter(_OneLine(_FORMAT, _TIME))
        handler.addFilter(SecretFilter())
        for logged in (root, *libraries):
            logged.addHandler(handler)
    try:
        if handlers:
            root.setLevel(min(level for _, level in handlers))
            _announce()
        yield
    except BaseException as error:
        logger.debug("ended by %s", type(error).__name__, exc_info=True)
        raise
    finally:
        root.setLevel(level_before)
        for handler, _ in handlers:
            for logged in (root, *libraries):
                logged.removeHandler(handler)
            handler.close()


def _announce() -> None:
    from autotuner import __version__

    logger.info("autotuner %s, Python %s, %s", __version__, platform.python_version(), platform.platform())
