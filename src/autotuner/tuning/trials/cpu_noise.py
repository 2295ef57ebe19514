"""Policy for windows disturbed by other processes: repeat the window, or only report a lasting disturbance."""

from dataclasses import dataclass

FOREIGN_CPU_CORES = 0.25
"""CPU cores used by other processes above which a window is disturbed; a busy machine can slow a CPU engine by 40%."""
DISTURBED = "other processes used"
"""Start of every text about a disturbed window."""
GIVE_UP_AFTER = 3
"""Disturbed repetitions in a row after which windows are not repeated until one was quiet."""


@dataclass
class Neighbors:
    """CPU use of other processes, over all trials of a run."""

    in_vain: int = 0
    """Disturbed repetitions in a row."""

    def again(self) -> bool:
        """Whether a disturbed window is measured a second time."""
        return self.in_vain < GIVE_UP_AFTER

    def seen(self, foreign_cpu_cores: float | None, *, again: bool) -> bool:
        """Records a window; returns whether it was disturbed. ``again``: whether it was a repetition."""
        disturbed = foreign_cpu_cores is not None and foreign_cpu_cores > FOREIGN_CPU_CORES
        if not disturbed:
            self.in_vain = 0
        elif again:
            self.in_vain += 1
        return disturbed
