"""Failures of a platform's connection outside of any trial."""

from collections.abc import Iterator
from contextlib import contextmanager

from autotuner.deployers.shared.failures import UnusableTargetError
from autotuner.study.failure import TrialFailedError


@contextmanager
def must_answer(kind: str = "") -> Iterator[None]:
    """Turns a trial's failure into :class:`UnusableTargetError`, since there is no trial yet.

    ``kind`` is the deployer's; it is named where the user may not have chosen it.
    """
    try:
        yield
    except TrialFailedError as error:
        raise UnusableTargetError(error.failure, kind) from error
