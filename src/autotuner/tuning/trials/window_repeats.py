"""Windows that are measured again: those that lags of the load generator or other processes spoiled."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from autotuner.scoring.repeats import LagRepeats, lag_text, set_aside
from autotuner.study.measurement import Measurement
from autotuner.tuning.trials.cpu_noise import GIVE_UP_AFTER, Neighbors, disturbed, used_text


@dataclass
class WindowRepeats:
    """Decides which windows are measured again, over all trials of a run.

    Their latencies and rates have no part in it: whoever repeats what looks bad makes results better than they are.
    """

    neighbors: Neighbors = field(default_factory=Neighbors)
    lags: LagRepeats = field(default_factory=LagRepeats)
    _said: bool = False

    def why_again(self, taken: Sequence[Measurement]) -> str | None:
        """Why a level is measured again; None if it is not.

        Args:
            taken: All windows of the level on this server, the last one of which is new.
        """
        noisy = self.neighbors.seen(taken)
        if self.lags.seen(taken):
            return f"{lag_text(taken[-1])} during the window"
        return f"{used_text(taken[-1])} during the window" if noisy else None

    def gave_up(self) -> str:
        """What to tell users when disturbed windows begin to be no longer measured twice; empty otherwise."""
        gave_up = self.neighbors.in_vain >= GIVE_UP_AFTER
        news = gave_up and not self._said
        self._said = gave_up
        return "the machine stays busy: disturbed windows are no longer measured twice" if news else ""


def chosen(taken: Sequence[Measurement]) -> Measurement:
    """The window that counts: the quietest one of those in which the load generator kept up, if there are any."""
    sound = [m for m in taken if not m.self_check.client_limited]
    kept = min(sound or taken, key=lambda m: m.self_check.foreign_cpu_cores or 0.0)
    warnings = kept.warnings
    if disturbed(kept):
        tries = f"{len(taken)} times tried" if len(taken) > 1 else "tried once"
        warnings = (*warnings, f"{used_text(kept)}, {tries}")
    others = tuple(set_aside(m, _why_not(m)) for m in taken if m is not kept)
    return kept.replaced(warnings=warnings, set_aside=others)


def _why_not(measured: Measurement) -> str:
    return lag_text(measured) if measured.self_check.client_limited else used_text(measured)
