"""Metadata of a GGUF model file from which its shape is read.

Format: the GGUF specification, version 3 (ggml-org/ggml, ``docs/gguf.md``).
"""

import struct
from pathlib import Path
from typing import BinaryIO

_SIZES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Formats of :mod:`struct` for the value types of a fixed size."""
_STRING = 8
_ARRAY = 9
_MOST_KEYS = 1000
_MOST_BYTES = 1 << 20
_TOKENS = "tokenizer.ggml.tokens"

Metadata = dict[str, int | float | str | bool]


def gguf_metadata(path: Path) -> Metadata | None:
    """Scalar values by key; ``vocab`` is the number of tokens. Reads no further than the list of tokens.

    Returns:
        None if the file cannot be read or is not a GGUF file of version 2 or 3.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except (OSError, ValueError, KeyError, OverflowError, struct.error):
        return None


def _read(file: BinaryIO) -> Metadata | None:
    magic, version, _, number = struct.unpack("<4sIQQ", file.read(24))
    if magic != b"GGUF" or version not in (2, 3):
        return None
    found: Metadata = {}
    for _ in range(min(number, _MOST_KEYS)):
        key = _text(file)
        kind = _number(file, "I")
        if kind == _ARRAY:
            items = _number(file, "I")
            count = _number(file, "Q")
            if key == _TOKENS:
                found["vocab"] = int(count)
                break
            _skip(file, int(items), int(count))
        else:
            found[key] = _text(file) if kind == _STRING else _number(file, _SIZES[int(kind)])
    return found


def _number(file: BinaryIO, form: str) -> int | float | bool:
    size = struct.calcsize(f"<{form}")
    [value] = struct.unpack(f"<{form}", file.read(size))
    return value  # type: ignore[no-any-return]


def _text(file: BinaryIO) -> str:
    length = int(_number(file, "Q"))
    if length > _MOST_BYTES:
        raise ValueError("not a GGUF file")
    return file.read(length).decode()


def _skip(file: BinaryIO, items: int, count: int) -> None:
    if items != _STRING:
        file.seek(struct.calcsize(f"<{_SIZES[items]}") * count, 1)
        return
    for _ in range(min(count, _MOST_BYTES)):
        file.seek(int(_number(file, "Q")), 1)
