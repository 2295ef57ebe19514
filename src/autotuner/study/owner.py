"""Who runs trials: one running autotuner process. An owner that died leaves things behind that others may remove."""

from autotuner.study.base import Noun


class Owner(Noun):
    """One running autotuner process."""

    id: str
    """Random, unique."""
    host: str
    pid: int
    started: float
    """When it started, in seconds since the epoch by its own clock. For display: clocks are set while runs go on."""
    process: str = ""
    """Names the process without a clock; see :class:`autotuner.store.process_identity.ProcessIdentity`. Empty for
    owners that an earlier version stored."""
