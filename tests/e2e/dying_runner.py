"""Runs a study file and kills itself with SIGKILL at a chosen point: ``dying_runner.py FILE POINT TRIAL``.

POINT is a phase (entered by that trial), ``storing`` (right before it is committed) or ``stored`` (right after).
"""

import os
import signal
import sys

import autotuner
from autotuner.store.trials import TrialTable
from autotuner.tuning.trials.progress import TrialProgress

file = sys.argv[1]
point = sys.argv[2]
number = int(sys.argv[3])


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


enter = TrialProgress.enter
finish = TrialTable.finish


def entering(self, phase, scenario=None, level=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    enter(self, phase, scenario, level)
    if phase.value == point and self._draft.proposed.number >= number:
        die()


def finishing(self, trial, *args, **kwargs):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN003, ANN201
    if point == "storing" and trial.number >= number:
        die()
    finish(self, trial, *args, **kwargs)
    if point == "stored" and trial.number >= number:
        die()


TrialProgress.enter = entering  # type: ignore[method-assign]
TrialTable.finish = finishing  # type: ignore[method-assign]
autotuner.tune(file)
