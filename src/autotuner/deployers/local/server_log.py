"""The trial's ``server.log``, where the server runs elsewhere and its words are copied here."""

from contextlib import suppress
from pathlib import Path
from threading import Lock

import anyio

from autotuner.deployers.local.bounded_log import BoundedLog
from autotuner.deployers.shared import failures, log_tail
from autotuner.study.failure import SEARCHED_LOG_LINES, Failure, TrialFailedError
from autotuner.study.launch import SERVER_LOG


class Log:
    """Lines of ours while the server is prepared, then what it writes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / SERVER_LOG
        self._lock = Lock()
        self._failed = anyio.Event()
        self.failure: Failure | None = None
        """Why nothing more can be written."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)
            self._file = BoundedLog(str(self.path))
        except OSError as error:
            raise TrialFailedError(failures.not_written("the server's log", error)) from error

    def say(self, text: str) -> None:
        """One line of ours."""
        self.write(f"autotuner: {text}\n".encode())

    def write(self, data: bytes) -> None:
        """Appends; a disk that is full is remembered, and ends the trial."""
        try:
            with self._lock:
                self._file.write(data)
        except OSError as error:
            self.failure = self.failure or failures.not_written("the server's log", error)
            self._failed.set()

    async def fails(self) -> Failure:
        """Waits until the log cannot be written any more, and returns why."""
        while self.failure is None:
            await self._failed.wait()
        return self.failure

    def tail(self, lines: int = SEARCHED_LOG_LINES) -> str:
        """The last lines; may be called in another thread."""
        with suppress(OSError), self._lock:
            self._file.flush()
        return log_tail.tail(self.path, lines)

    def close(self) -> None:
        """Nothing is written any more."""
        with suppress(OSError), self._lock:
            self._file.close()
