"""The load generator's process: ``python -m autotuner.benchmarks.loadgen.worker``, spec on stdin, JSON lines on stdout.

Lines, by ``kind``:

- ``window``: ``state`` is ``begin`` or ``end``; ``monotonic_ns`` and ``epoch_s`` are its time.
- ``progress``: about twice a second during the window.
- ``records``: batches of request records after the window, with times in ns from its start.
- ``result``: the last line, with the raw values of the self-check and the calibration used.
- ``error``: instead of ``result`` if the spec is not usable; the exit code is 2.
"""

import asyncio
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import uvloop

from autotuner.benchmarks.loadgen.http.descriptors import check_descriptors, raise_descriptor_limit
from autotuner.benchmarks.loadgen.output_lines import emit
from autotuner.benchmarks.loadgen.processes.cores import available_cores
from autotuner.benchmarks.loadgen.processes.several_workers import WorkerDiedError, run_divided
from autotuner.benchmarks.loadgen.processes.shares import workers_for
from autotuner.benchmarks.loadgen.run_window import run
from autotuner.benchmarks.loadgen.spec import WorkerSpec
from autotuner.invalid_value import InvalidValueError

_DEATH_REMEDY = "measure again; if the kernel killed it for lack of memory, set fewer benchmark.workers"


def main() -> int:
    """Runs the window specified on stdin and returns the exit code."""
    raise_descriptor_limit()
    try:
        spec = WorkerSpec.from_json(sys.stdin.buffer.read())
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            unhandled: list[str] = []
            runner.get_loop().set_exception_handler(lambda _, context: unhandled.append(_describe(context)))
            cores = available_cores()
            workers = workers_for(spec, cores)
            check_descriptors(spec.slots or 1, workers)
            runner.run(run(spec, emit) if workers == 1 else run_divided(spec, workers, cores, emit))
        if unhandled:  # an exception in a callback spoils the measurement without ending the run
            sys.stderr.write("\n".join(unhandled))
            return 1
    except InvalidValueError as error:
        emit({"kind": "error", "message": error.why, "remedy": error.remedy})
        return 2
    except WorkerDiedError as error:
        emit({"kind": "error", "message": str(error), "remedy": _DEATH_REMEDY, "log_tail": error.log_tail})
        return 2
    except (ValueError, TypeError) as error:
        emit({"kind": "error", "message": str(error)})
        return 2
    except BrokenPipeError:
        return 1
    return 0


def _describe(context: Mapping[str, Any]) -> str:
    error = context.get("exception")
    trace = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""
    return f"{context.get('message')}\n{trace}"


if __name__ == "__main__":
    sys.exit(main())
