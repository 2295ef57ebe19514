"""The last lines of a file that may be huge, or still be written to."""

import os
from pathlib import Path

_CHUNK = 65_536


def tail(path: Path, lines: int, *, limit: int = 64 * 1024) -> str:
    """The last ``lines`` lines, at most ``limit`` bytes; empty if there is no file.

    Reads only the end of the file. A line that the limit cuts is left out unless it is the only one.
    """
    try:
        with path.open("rb") as file:
            end = position = file.seek(0, os.SEEK_END)
            chunks: list[bytes] = []
            newlines = 0
            while position and newlines <= lines and end - position < limit:
                step = min(_CHUNK, position, limit - (end - position))
                position -= step
                file.seek(position)
                chunks.append(file.read(step))
                newlines += chunks[-1].count(b"\n")
    except OSError:
        return ""
    data = b"".join(reversed(chunks))
    if position and newlines <= lines:
        whole = data.partition(b"\n")[2]
        data = whole or data
    return "\n".join(data.decode(errors="replace").splitlines()[-lines:])
