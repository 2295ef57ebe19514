"""Policy for windows disturbed by other processes: wait out a neighbor that comes and goes, only report one that
stays."""

from dataclasses import dataclass

FOREIGN_CPU_CORES = 0.25
"""A window in which other processes used more than this is disturbed; a busy neighbor can cost a CPU engine 40%."""
DISTURBED = "other processes used"
"""Start of every text about a disturbed window."""
GIVE_UP_AFTER = 3
"""Disturbed second tries in a row after which no more are made until a window was quiet."""


@dataclass
class Neighbors:
    """Other processes' CPU use so far, over all trials of a run."""

    in_vain: int = 0

    def again(self) -> bool:
        """Whether a disturbed window is measured a second time."""
        return self.in_vain < GIVE_UP_AFTER

    def seen(self, foreign_cpu_cores: float | None, *, again: bool) -> bool:
        """Records a window; true if it was disturbed. ``again``: it was a second try."""
        disturbed = foreign_cpu_cores is not None and foreign_cpu_cores > FOREIGN_CPU_CORES
        if not disturbed:
            self.in_vain = 0
        elif again:
            self.in_vain += 1
        return disturbed
