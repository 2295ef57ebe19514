"""Policy for windows that lags of the load generator spoiled: measure the level again, or only report it.

Only lags decide whether a window is measured again, never what it shows of the server: choosing among results would
make them better than they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from autotuner.study.measurement import Measurement, SetAside

MOST_REPEATS = 2
"""Times that a level is measured again."""
GIVE_UP_AFTER = 3
"""Lagging repetitions in a row of one level after which it is not measured again until it was measured without."""
COULD_NOT_KEEP_UP = "the load generator could not keep up"
"""Start of every text about such a window."""


def lag_text(measured: Measurement) -> str:
    """What was wrong with a lagging window."""
    return f"{COULD_NOT_KEEP_UP} ({'; '.join(measured.self_check.reasons)})"


@dataclass
class LagRepeats:
    """Repetitions of lagging windows, over all windows of a run."""

    in_vain: dict[tuple[str, str], int] = field(default_factory=dict)
    """Lagging repetitions in a row, by scenario and level. Whether a load is too much for the load generator depends on
    both."""

    def seen(self, taken: Sequence[Measurement]) -> bool:
        """Records a window, and returns whether its level is to be measured again.

        Args:
            taken: All windows of the level on this server, the last one of which is new.
        """
        last = taken[-1]
        place = (last.scenario, last.level.text)
        if not last.self_check.client_limited:
            self.in_vain[place] = 0
        elif len(taken) > 1:
            self.in_vain[place] = self.in_vain.get(place, 0) + 1
        return bool(last.self_check.lagged) and len(taken) <= MOST_REPEATS and not self._gave_up(place)

    def _gave_up(self, place: tuple[str, str]) -> bool:
        return self.in_vain.get(place, 0) >= GIVE_UP_AFTER


def set_aside(measured: Measurement, why: str) -> SetAside:
    """The record of a window that does not count."""
    return SetAside(
        why=why,
        window_s=measured.window_s,
        requests=measured.requests,
        self_check=measured.self_check,
        records=measured.records,
        started_at=measured.started_at,
    )
