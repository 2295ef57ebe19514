"""Runs study files, each in a fork of this process that kills itself with SIGKILL at a chosen point.

Reads one JSON list ``[FILE, POINT, TRIAL]`` per line of stdin, and writes the exit code of each run. POINT is a phase
(entered by that trial), ``storing`` (right before it is committed) or ``stored`` (right after). Modules are imported
before the first fork, because importing them takes longer than a short run.
"""

import json
import os
import signal
import sys
from importlib import import_module

import autotuner
from autotuner.store.trials import TrialTable
from autotuner.tuning.trials.progress import TrialProgress

for module in ("api.running", "benchmarks.native", "deployers.process", "engines.llama_cpp.engine", "search.bayesian"):
    import_module(f"autotuner.{module}")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run(file: str, point: str, number: int) -> None:
    enter = TrialProgress.enter
    finish = TrialTable.finish

    def entering(self, phase, *args, **kwargs):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN003, ANN202
        enter(self, phase, *args, **kwargs)
        if phase.value == point and self._draft.proposed.number >= number:
            die()

    def finishing(self, trial, *args, **kwargs):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN003, ANN202
        if point == "storing" and trial.number >= number:
            die()
        finish(self, trial, *args, **kwargs)
        if point == "stored" and trial.number >= number:
            die()

    TrialProgress.enter = entering  # type: ignore[method-assign]
    TrialTable.finish = finishing  # type: ignore[method-assign]
    autotuner.tune(file)


for line in sys.stdin:
    child = os.fork()
    if child == 0:
        run(*json.loads(line))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
    sys.stdout.flush()
