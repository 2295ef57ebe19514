"""Runs a module of this package if this process is killed within a block."""

import marshal
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autotuner.deployers._watcher import Order

_WATCHER = (
    "import sys;M=type(sys);a=M('autotuner');d=M('autotuner.deployers');a.__path__=[];d.__path__=[sys.argv[1]];"
    "sys.modules.update({a.__name__:a,d.__name__:d});"
    "from autotuner.deployers._watcher import main;main(int(sys.argv[2]))"
)
"""Imports the watcher without its packages: their own imports take longer than all of its work."""
_END_S = 10.0


@contextmanager
def when_killed(module: str, spec: bytes) -> Iterator[None]:
    """Runs ``python -m module`` with ``spec`` (a few kilobytes) on stdin if this process ends within the block without
    leaving it. Where no watcher can be started, the block runs all the same: the next run cleans up."""
    order: Order = {"runner": os.getpid(), "argv": [sys.executable, "-m", module], "input": spec}
    data = marshal.dumps(dict(order))
    reading, writing = os.pipe()
    try:
        watcher = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCHER, str(Path(__file__).parent), str(reading)],
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
