"""CPU use by other processes during windows: when it disturbs them, and whether to repeat them."""

from collections.abc import Sequence
from dataclasses import dataclass

from autotuner.study.measurement import Measurement

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

    def seen(self, taken: Sequence[Measurement]) -> bool:
        """Records a window, and returns whether it is measured a second time.

        Args:
            taken: All windows of the level on this server, the last one of which is new.
        """
        again = len(taken) > 1
        if not disturbed(taken[-1]):
            self.in_vain = 0
            return False
        self.in_vain += again
        return not again and self.in_vain < GIVE_UP_AFTER


def disturbed(measured: Measurement) -> bool:
    """Whether other processes used the CPU during a window."""
    cores = measured.self_check.foreign_cpu_cores
    return cores is not None and cores > FOREIGN_CPU_CORES


def used_text(measured: Measurement) -> str:
    """What was wrong with a disturbed window."""
    return f"{DISTURBED} {measured.self_check.foreign_cpu_cores or 0.0:.2f} CPU cores"
