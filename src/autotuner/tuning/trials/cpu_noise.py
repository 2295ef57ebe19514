"""Whether measuring a disturbed window again is worth its time: a neighbor that comes and goes is waited out, one that
stays is only reported."""

from dataclasses import dataclass

FOREIGN_CPU_CORES = 0.25
"""A window in which other processes used more than this is disturbed; a busy neighbor can cost a CPU engine 40%."""
DISTURBED = "other processes used"
"""How every text on a disturbed window begins."""
GIVE_UP_AFTER = 3
"""Second tries in a row that were disturbed as well, after which none is made until a window was quiet."""


@dataclass
class Neighbors:
    """What was seen of other processes' CPU so far, over all trials of a run."""

    in_vain: int = 0

    def again(self) -> bool:
        """Whether a disturbed window is measured once more."""
        return self.in_vain < GIVE_UP_AFTER

    def seen(self, foreign_cpu_cores: float | None, *, again: bool) -> bool:
        """Takes note of a window; true where it was disturbed. ``again``: it was a second try."""
        disturbed = foreign_cpu_cores is not None and foreign_cpu_cores > FOREIGN_CPU_CORES
        if not disturbed:
            self.in_vain = 0
        elif again:
            self.in_vain += 1
        return disturbed
