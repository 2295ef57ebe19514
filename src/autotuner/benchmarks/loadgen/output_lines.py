"""The worker's voice: JSON lines on stdout, each written at once."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import orjson

Say = Callable[[Mapping[str, Any]], None]


def say(line: Mapping[str, Any]) -> None:
    """Writes one line, past any buffer: a reader waits for it. Raises ``BrokenPipeError`` when nobody reads."""
    data = memoryview(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    while data:
        data = data[os.write(1, data) :]
