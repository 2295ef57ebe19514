"""Configurations that cannot fit in the memory of the target's GPUs: known before a launch, and never launched."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from autotuner.errors import Problem
from autotuner.predict.memory import MemoryUse, Shortage
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.parameters.reference import ReferenceWord
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
    raise_flag: str = ""
    """The flag whose value need only be raised; empty if that is not enough."""

    @property
    def failure(self) -> Failure:
        """The failure of a trial that is not launched because of it."""
        remedy = "spread the model over more GPUs, shorten the context, or choose a smaller format"
        if self.raise_flag:
            remedy = f"raise {self.raise_flag}"
        return Failure(cause=self.cause, message=f"not launched, because it cannot fit: {self.why}", remedy=remedy)


def misfit(use: MemoryUse | None) -> Misfit | None:
    """The misfit of a server that cannot start for lack of memory."""
    if use is None or use.shortage is None:
        return None
    return Misfit(use.why, _CAUSES.get(use.shortage, FailureCause.GPU_OUT_OF_MEMORY_RUNNING), use.raise_flag)


def misfit_notes(size: StudySize, reference: Misfit | None, word: ReferenceWord) -> Iterator[Problem]:
    """Warnings about what is not launched.

    Args:
        size: Counts of the study.
        reference: Why the default or baseline cannot fit; None if it may.
        word: Which of the two it is.
    """
    if reference is not None:
        why = f"the {word} cannot fit and is not launched: {reference.why}"
        where, remedy = _REMEDIES[word]
        if reference.raise_flag:
            remedy = f"raise {reference.raise_flag} there"
        yield Problem(where=where, why=why, remedy=remedy)
    if size.refused and size.launchable:
        points = size.launchable + size.misfits + size.refused
        why = f"{size.refused} of {points} configurations are refused and not launched; {'; '.join(size.refusals)}"
        yield Problem(where="parameters", why=why, remedy="change these values, or exclude them by a constraint")
    if size.misfits and size.launchable:
        points = size.launchable + size.misfits
        why = f"{size.misfits} of {points} configurations cannot fit and are not launched; {size.misfit}"
        yield Problem(where="parameters", why=why, remedy="remove these values, or use GPUs with more memory")


_REMEDIES: Mapping[ReferenceWord, tuple[str, str]] = {
    "default": ("engine.args", "set arguments that fit in every trial"),
    "baseline": ("baseline", "state values that fit"),
}
"""Where the reason is corrected, and how."""
