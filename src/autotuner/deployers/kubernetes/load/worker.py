"""Runner of a load generator inside a pod, which sends its output through the pod's log and makes losses visible.

``python -m autotuner.deployers.kubernetes.load.worker MODULE FOLDER``: the spec is in the folder's files, compressed. A
pod's log is cut into lines, rotated and read over connections that break; so each line of the module's stdout is
compressed and told in numbered frames of one short line each, and at the end how many there were, and their digest.
Whoever has them all ends this process; until then it tells everything once more, some times over. Standard library
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
"""Begins each frame: ``autotuner-frame NUMBER MARK TEXT``; numbers begin with 1."""
PART = "+"
LINE = "."
ERRORS = "!"
END = "="
"""Marks: more of it follows; a line of stdout is whole; stderr's tail is whole; the end, in plain JSON."""
_TEXT = 6000
"""Longest text of a frame: container runtimes break lines at 16 KiB."""
_AGAIN_AFTER_S = (10.0, 20.0, 40.0)
_EVIDENCE_BYTES = 16 * 1024
_CHUNK = 1 << 16


def encode(mark: str, content: bytes) -> list[tuple[str, str]]:
    """(mark, text) of the frames that carry one line."""
    text = base64.b64encode(zlib.compress(content, 6)).decode()
    pieces = [text[i : i + _TEXT] for i in range(0, len(text), _TEXT)]
    return [*((PART, piece) for piece in pieces[:-1]), (mark, pieces[-1])]


def decode(texts: Sequence[str]) -> bytes:
    """The line that these frames' texts carry. Raises ValueError."""
    try:
        return zlib.decompress(base64.b64decode("".join(texts), validate=True))
    except zlib.error as error:
        raise ValueError(str(error)) from error


def digest(texts: Sequence[str]) -> str:
    """What the end frame tells of all texts before it."""
    whole = hashlib.sha256()
    for text in texts:
        whole.update(text.encode())
    return whole.hexdigest()


def pack(spec: bytes, size: int) -> list[bytes]:
    """A spec as files of at most ``size`` bytes each."""
    packed = zlib.compress(spec, 6)
    return [packed[i : i + size] for i in range(0, len(packed), size)]


def unpack(folder: Path) -> bytes:
    """The inverse, from a folder with nothing else but hidden files in it."""
    files = sorted(f for f in folder.iterdir() if not f.name.startswith("."))
    return zlib.decompress(b"".join(f.read_bytes() for f in files))


class _Teller:
    """Tells frames, and keeps them to tell them again."""

    def __init__(self) -> None:
        self._frames: list[tuple[str, str]] = []

    def tell(self, mark: str, content: bytes) -> None:
        for frame in encode(mark, content):
            self._frames.append(frame)
            self._write(len(self._frames), frame)

    def end(self, code: int) -> None:
        told = {"frames": len(self._frames), "sha256": digest([t for _, t in self._frames]), "exit_code": code}
        self._frames.append((END, json.dumps(told, separators=(",", ":"))))
        self._write(len(self._frames), self._frames[-1])

    def again(self) -> None:
        for number, frame in enumerate(self._frames, 1):
            self._write(number, frame)

    def _write(self, number: int, frame: tuple[str, str]) -> None:
        data = f"{FRAME} {number} {frame[0]} {frame[1]}\n".encode()
        while data:
            data = data[os.write(1, data) :]


def main() -> int:
    """Runs the module to its end and tells it."""
    module = sys.argv[1]
    folder = Path(sys.argv[2])
    teller = _Teller()
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
            assert worker.stdout is not None  # noqa: S101 - it was asked for
            _copy(worker.stdout, teller)
            code = worker.wait()
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - _EVIDENCE_BYTES))
        teller.tell(ERRORS, errors.read())
    teller.end(code)
    for seconds in _AGAIN_AFTER_S:
        if _slept(stopped, seconds):
            return 0
        teller.again()
    return 0


def _copy(stdout: IO[bytes], teller: _Teller) -> None:
    begun = bytearray()
    while data := stdout.read(_CHUNK):
        head, newline, rest = data.rpartition(b"\n")
        if newline:
            for line in (bytes(begun) + head).split(b"\n"):
                teller.tell(LINE, line)
            begun = bytearray(rest)
        else:
            begun += data
    if begun:
        teller.tell(LINE, bytes(begun))


def _slept(stopped: threading.Event, seconds: float) -> bool:
    """Whether a signal to stop has arrived. An event's own wait would keep a signal's handler from running on some
    systems, so it is asked in turns."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not stopped.is_set():
        time.sleep(0.05)
    return stopped.is_set()


if __name__ == "__main__":
    sys.exit(main())
