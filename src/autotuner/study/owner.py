"""Owners of trials: running autotuner processes. What a dead owner left behind may be removed by others."""

from autotuner.study.base import FrozenModel

RUNNING = "running"
"""Stored state of a study that has an owner, perhaps a dead one."""
CUT_OFF = "cut off"
"""State of a study whose run was killed and could not store its end. It is not stored: readers find out."""


class Owner(FrozenModel):
    """One running autotuner process."""

    id: str
    """Random and unique."""
    host: str
    pid: int
    started: float
    """Start time in seconds since the epoch by its own clock. Only for display, because clocks can be set."""
    process: str = ""
    """Identifies the process independently of the clock; see
    :class:`autotuner.store.process_identity.ProcessIdentity`. Empty for owners stored by earlier versions."""
