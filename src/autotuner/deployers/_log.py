"""The last lines of a file that may be huge, or still be written to."""

import os
from pathlib import Path

_CHUNK = 65_536


def tail(path: Path, lines: int, *, limit: int = 64 * 1024) -> str:
    """The last ``lines`` lines, at most ``limit`` bytes; empty where there is no file. Reads only the end."""
    try:
        with path.open("rb") as file:
            position = file.seek(0, os.SEEK_END)
            data = b""
            while position and data.count(b"\n") <= lines and len(data) < limit:
                step = min(_CHUNK, position)
                position -= step
                file.seek(position)
                data = file.read(step) + data
    except OSError:
        return ""
    return "\n".join(data[-limit:].decode(errors="replace").splitlines()[-lines:])
