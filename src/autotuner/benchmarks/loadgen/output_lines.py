"""JSON lines on the worker's stdout, unbuffered."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import orjson

Emit = Callable[[Mapping[str, Any]], None]


def emit(line: Mapping[str, Any]) -> None:
    """Writes one line without buffering, because the reader follows it live. Raises ``BrokenPipeError`` if the reader
    is gone."""
    data = memoryview(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    while data:
        data = data[os.write(1, data) :]


def pass_on(line: bytes) -> None:
    """Writes a line, with its newline, as another process has written it."""
    data = memoryview(line)
    while data:
        data = data[os.write(1, data) :]
