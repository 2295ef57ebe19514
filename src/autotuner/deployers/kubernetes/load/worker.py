"""Runner of a load generator inside a pod, which sends its output through the pod's log and makes losses visible.

``python -m autotuner.deployers.kubernetes.load.worker MODULE FOLDER``: the spec is in the folder's files, compressed. A
pod's log is cut into lines, rotated and read over connections that break; so each line of the module's stdout is
compressed and written as numbered frames of one short line each, and a last frame has their number and digest. The
reader ends this process once it has all of them; until then, all frames are repeated a few times. Standard library
only.
"""

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

FRAME = "autotuner-frame"
"""Starts each frame: ``autotuner-frame NUMBER MARK TEXT``; numbers start at 1."""
PART = "+"
LINE = "."
ERRORS = "!"
END = "="
"""Marks: more pieces follow; last piece of a line of stdout; last piece of stderr's tail; the end, in plain JSON."""
_TEXT = 6000
"""Longest text of a frame: container runtimes break lines at 16 KiB."""
_REPEAT_AFTER_S = (10.0, 20.0, 40.0)
_EVIDENCE_BYTES = 16 * 1024
_CHUNK = 1 << 16


def encode(mark: str, content: bytes) -> list[tuple[str, str]]:
    """Returns (mark, text) of the frames that carry one line."""
    text = base64.b64encode(zlib.compress(content, 6)).decode()
    pieces = [text[i : i + _TEXT] for i in range(0, len(text), _TEXT)]
    return [*((PART, piece) for piece in pieces[:-1]), (mark, pieces[-1])]


def decode(texts: Sequence[str]) -> bytes:
    """Returns the line that the texts of these frames carry. Raises ValueError if they are corrupted."""
    try:
        return zlib.decompress(base64.b64decode("".join(texts), validate=True))
    except zlib.error as error:
        raise ValueError(str(error)) from error


def digest(texts: Sequence[str]) -> str:
    """Returns the SHA-256 of the texts of all frames before the last, as the last frame has it."""
    whole = hashlib.sha256()
    for text in texts:
        whole.update(text.encode())
    return whole.hexdigest()


def pack(spec: bytes, size: int) -> list[bytes]:
    """Compresses a spec into files of at most ``size`` bytes each."""
    packed = zlib.compress(spec, 6)
    return [packed[i : i + size] for i in range(0, len(packed), size)]


def unpack(folder: Path) -> bytes:
    """Reads a spec back from a folder that contains its files and otherwise only hidden ones."""
    files = sorted(f for f in folder.iterdir() if not f.name.startswith("."))
    return zlib.decompress(b"".join(f.read_bytes() for f in files))


class _FrameWriter:
    """Writes frames to stdout, and keeps them to repeat them."""

    def __init__(self) -> None:
        self._frames: list[tuple[str, str]] = []

    def send(self, mark: str, content: bytes) -> None:
        for frame in encode(mark, content):
            self._frames.append(frame)
            self._write(len(self._frames), frame)

    def end(self, code: int) -> None:
        summary = {"frames": len(self._frames), "sha256": digest([t for _, t in self._frames]), "exit_code": code}
        self._frames.append((END, json.dumps(summary, separators=(",", ":"))))
        self._write(len(self._frames), self._frames[-1])

    def repeat(self) -> None:
        for number, frame in enumerate(self._frames, 1):
            self._write(number, frame)

    def _write(self, number: int, frame: tuple[str, str]) -> None:
        data = f"{FRAME} {number} {frame[0]} {frame[1]}\n".encode()
        while data:
            data = data[os.write(1, data) :]


def main() -> int:
    """Runs the module until it ends, and sends its output."""
    module = sys.argv[1]
    folder = Path(sys.argv[2])
    writer = _FrameWriter()
    stopped = threading.Event()
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as errors:
        stdin.write(unpack(folder))
        stdin.seek(0)
        argv = [sys.executable, "-m", module]
        with subprocess.Popen(argv, stdin=stdin, stdout=subprocess.PIPE, stderr=errors, bufsize=0) as worker:

            def stop(number: int, _: object) -> None:
                stopped.set()
                worker.send_signal(number)

            signal.signal(signal.SIGTERM, stop)
            assert worker.stdout is not None  # noqa: S101 - stdout is a pipe
            _copy(worker.stdout, writer)
            code = worker.wait()
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - _EVIDENCE_BYTES))
        writer.send(ERRORS, errors.read())
    writer.end(code)
    for seconds in _REPEAT_AFTER_S:
        if _is_stopped(stopped, seconds):
            return 0
        writer.repeat()
    return 0


def _copy(stdout: IO[bytes], writer: _FrameWriter) -> None:
    begun = bytearray()
    while data := stdout.read(_CHUNK):
        head, newline, rest = data.rpartition(b"\n")
        if newline:
            for line in (bytes(begun) + head).split(b"\n"):
                writer.send(LINE, line)
            begun = bytearray(rest)
        else:
            begun += data
    if begun:
        writer.send(LINE, bytes(begun))


def _is_stopped(stopped: threading.Event, seconds: float) -> bool:
    """Waits for this long and returns whether a signal to stop has arrived.

    Polls, since on some systems ``Event.wait`` keeps signal handlers from running.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until and not stopped.is_set():
        time.sleep(0.05)
    return stopped.is_set()


if __name__ == "__main__":
    sys.exit(main())
