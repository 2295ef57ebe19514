"""Who runs trials: one running autotuner process. An owner that died leaves things behind that others may remove."""

from autotuner.study.noun import Noun


class Owner(Noun):
    """One running autotuner process."""

    id: str
    """Random, unique."""
    host: str
    pid: int
    started: float
    """The process's start time (seconds since the epoch), so that a reused pid is not mistaken for it."""
