"""Cleanup that runs even if this process is killed."""

import marshal
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from autotuner.deployers.local.bare_python import bare_python

if TYPE_CHECKING:
    from autotuner.deployers.docker.orphan_watcher import Order

_END_S = 10.0
"""Longest wait for the watcher to end."""


@contextmanager
def when_killed(module: str, spec: bytes) -> Iterator[None]:
    """Runs ``python -m module`` with ``spec`` on stdin if this process dies within the block.

    If no watcher can be started, the block runs without one; the next run then cleans up.

    Args:
        module: Module to run.
        spec: Its stdin, at most a few kilobytes: a pipe must hold it.
    """
    order: Order = {"runner": os.getpid(), "argv": [sys.executable, "-m", module], "input": spec}
    data = marshal.dumps(dict(order))
    reading, writing = os.pipe()
    try:
        watcher = subprocess.Popen(
            bare_python("autotuner.deployers.docker.orphan_watcher", reading),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(reading,),
        )
    except OSError:
        os.close(writing)
        yield
        return
    finally:
        os.close(reading)
    try:
        with suppress(BrokenPipeError):
            os.write(writing, len(data).to_bytes(8, "big") + data)
        yield
    finally:
        with suppress(BrokenPipeError):
            os.write(writing, b"done")
        os.close(writing)
        try:
            watcher.wait(_END_S)
        except subprocess.TimeoutExpired:
            watcher.kill()
            watcher.wait()
