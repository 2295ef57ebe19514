"""A log file of bounded size that keeps its beginning and its end.

The file grows until it holds a head and two tails. Then everything between the head and the last tail is dropped, and a
line in its place gives the number of dropped bytes. From then on the tail is kept in memory and the file is rewritten
once a second, so that even gigabytes of output per second cost a bounded amount of disk space and writes.

The supervisor imports this module and must start fast: it uses only the smallest modules of the standard library.
"""

import os
import time

HEAD_BYTES = 4 << 20
TAIL_BYTES = 16 << 20
_REWRITE_S = 1.0
_LINE_BYTES = 64 << 10
"""Farthest that a cut is moved to fall between two lines."""


class BoundedLog:
    """The only writer of one new file. Raises ``OSError`` if the file cannot be created or written."""

    def __init__(self, path: str, *, head: int = HEAD_BYTES, tail: int = TAIL_BYTES) -> None:
        self._path = path
        self._head = head
        self._tail = tail
        self._size = 0
        self._dropped = 0
        """Bytes missing from the file, all cuts together."""
        self._after_head = 0
        """Offset of the head's end; 0 as long as nothing was dropped."""
        self._marker = 0
        """Length of the line that stands after the head."""
        self._ring: bytearray | None = None
        """The newest bytes that are not in the file yet."""
        self._rewritten = 0.0
        self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes) -> None:
        """Appends to the log."""
        if self._ring is None:
            room = max(0, self._head + 2 * self._tail - self._size)
            self._append(data[:room])
            if len(data) <= room:
                return
            self._ring = self._begun_ring()
            data = data[room:]
        self._ring += data
        if len(self._ring) > 2 * self._tail:
            excess = len(self._ring) - self._tail
            del self._ring[:excess]
            self._dropped += excess
        if time.monotonic() - self._rewritten >= _REWRITE_S:
            self.flush()

    def due_s(self) -> float | None:
        """Seconds until :meth:`flush` should be called; None if everything is in the file."""
        if self._ring is None:
            return None
        return max(0.0, self._rewritten + _REWRITE_S - time.monotonic())

    def flush(self) -> None:
        """Brings the file up to date."""
        if self._ring is None:
            return
        start = max(0, len(self._ring) - self._tail)
        start = self._ring.find(b"\n", start, start + _LINE_BYTES) + 1 or start
        self._rewrite(bytes(self._ring[start:]), self._dropped + start)
        self._dropped += start
        self._ring = None
        self._rewritten = time.monotonic()

    def close(self) -> None:
        """Brings the file up to date for the last time."""
        try:
            self.flush()
        finally:
            os.close(self._file)

    def _append(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            written = os.write(self._file, left)
            self._size += written
            left = left[written:]

    def _begun_ring(self) -> bytearray:
        """The file's tail, with which the bytes in memory begin."""
        if not self._after_head:
            head = os.pread(self._file, self._head, 0)
            self._after_head = head.rfind(b"\n", max(0, len(head) - _LINE_BYTES)) + 1 or len(head)
        first = self._after_head + self._marker
        start = max(first, self._size - self._tail)
        self._dropped += start - first
        return bytearray(os.pread(self._file, self._size - start, start))

    def _rewrite(self, tail: bytes, dropped: int) -> None:
        """Writes a new file and renames it over the old one, so that a reader never sees half of it."""
        marker = b"\n[autotuner: %d bytes of this log were dropped here]\n" % dropped
        aside = f"{self._path}.new"
        file = os.open(aside, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
        old = self._file
        self._file = file
        size = self._size
        self._size = 0
        try:
            self._append(os.pread(old, self._after_head, 0))
            self._append(marker)
            self._append(tail)
            os.rename(aside, self._path)  # noqa: PTH104 - pathlib is slow to import
        except OSError:
            self._file = old
            self._size = size
            os.close(file)
            raise
        self._marker = len(marker)
        os.close(old)
