"""Configurations that cannot fit in the memory of the target's GPUs: known before a launch, and never launched."""

from collections.abc import Iterator
from typing import NamedTuple

from autotuner.errors import Problem
from autotuner.predict.memory import MemoryUse, Shortage
from autotuner.study.failure import Failure, FailureCause
from autotuner.tuning.planning.study_size import StudySize

_CAUSES = {
    Shortage.WEIGHTS: FailureCause.GPU_OUT_OF_MEMORY_LOADING,
    Shortage.CACHE: FailureCause.KV_CACHE_TOO_SMALL,
    Shortage.CONTEXT: FailureCause.KV_CACHE_TOO_SMALL,
}
"""What the server would have failed with; any other shortage leaves too little memory to run."""


class Misfit(NamedTuple):
    """Why a configuration cannot fit."""

    why: str
    cause: FailureCause

    @property
    def failure(self) -> Failure:
        """The failure of a trial that is not launched because of it."""
        remedy = "spread the model over more GPUs, shorten the context, or choose a smaller format"
        return Failure(cause=self.cause, message=f"not launched, because it cannot fit: {self.why}", remedy=remedy)


def misfit(use: MemoryUse | None) -> Misfit | None:
    """The misfit of a server that cannot start for lack of memory."""
    if use is None or use.shortage is None:
        return None
    return Misfit(use.why, _CAUSES.get(use.shortage, FailureCause.GPU_OUT_OF_MEMORY_RUNNING))


def misfit_notes(size: StudySize, default: Misfit | None) -> Iterator[Problem]:
    """Warnings about what is not launched."""
    if default is not None:
        why = f"the default cannot fit and is not launched: {default.why}"
        yield Problem(where="engine.args", why=why, remedy="set arguments that fit in every trial")
    if size.misfits:
        points = (size.launchable or 0) + size.misfits
        why = f"{size.misfits} of {points} configurations cannot fit and are not launched; {size.misfit}"
        yield Problem(where="parameters", why=why, remedy="remove these values, or use GPUs with more memory")
