"""``server.log`` of a trial whose server runs in a container or a cluster: its output is copied into the file."""

from contextlib import suppress
from pathlib import Path
from threading import Lock

import anyio

from autotuner.deployers.local.bounded_log import BoundedLog
from autotuner.deployers.shared import failures, log_tail
from autotuner.study.failure import SEARCHED_LOG_LINES, Failure, TrialFailedError
from autotuner.study.launch import SERVER_LOG


class Log:
    """Lines of autotuner while the server is prepared, then the server's output."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / SERVER_LOG
        self._lock = Lock()
        self._failed = anyio.Event()
        self.failure: Failure | None = None
        """Why writing failed; None while it works."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)
            self._file = BoundedLog(str(self.path))
        except OSError as error:
            raise TrialFailedError(failures.not_written("the server's log", error)) from error

    def say(self, text: str) -> None:
        """Writes one line of autotuner."""
        self.write(f"autotuner: {text}\n".encode())

    def write(self, data: bytes) -> None:
        """Appends. A failure such as a full disk is kept in :attr:`failure` and ends the trial."""
        try:
            with self._lock:
                self._file.write(data)
        except OSError as error:
            self.failure = self.failure or failures.not_written("the server's log", error)
            self._failed.set()

    async def fails(self) -> Failure:
        """Waits until writing fails, and returns why."""
        while self.failure is None:
            await self._failed.wait()
        return self.failure

    def tail(self, lines: int = SEARCHED_LOG_LINES) -> str:
        """The last lines. Thread-safe."""
        with suppress(OSError), self._lock:
            self._file.flush()
        return log_tail.tail(self.path, lines)

    def close(self) -> None:
        """Flushes and closes the file."""
        with suppress(OSError), self._lock:
            self._file.close()
