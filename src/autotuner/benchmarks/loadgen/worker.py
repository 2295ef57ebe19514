"""The load generator's process: ``python -m autotuner.benchmarks.loadgen.worker``, spec on stdin, JSON lines on stdout.

Lines, by ``kind``:

- ``window``: ``state`` is ``begin`` or ``end``; ``monotonic_ns`` and ``epoch_s`` of that moment.
- ``progress``: about twice a second inside the window.
- ``records``: after the window, batches of request records (times in ns from the window's begin).
- ``result``: the last line: the self-check's raw figures, the calibration that was used.
- ``error``: in place of ``result``, when the spec is unusable; exit code 2.
"""

import asyncio
import contextlib
import resource
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import uvloop

from autotuner.benchmarks.loadgen.output_lines import say
from autotuner.benchmarks.loadgen.run_window import run
from autotuner.benchmarks.loadgen.spec import WorkerSpec


def main() -> int:
    """Runs one window as told on stdin."""
    with contextlib.suppress(OSError, ValueError):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        spec = WorkerSpec.from_json(sys.stdin.buffer.read())
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            defects: list[str] = []
            runner.get_loop().set_exception_handler(lambda _, context: defects.append(_described(context)))
            runner.run(run(spec, say))
        if defects:
            sys.stderr.write("\n".join(defects))
            return 1
    except (ValueError, TypeError) as error:
        say({"kind": "error", "message": str(error)})
        return 2
    except BrokenPipeError:
        return 1
    return 0


def _described(context: Mapping[str, Any]) -> str:
    """An error that asyncio had nobody to raise to: the figures of such a run are not to be trusted."""
    error = context.get("exception")
    trace = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""
    return f"{context.get('message')}\n{trace}"


if __name__ == "__main__":
    sys.exit(main())
