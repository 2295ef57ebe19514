"""Texts that mark simulated numbers.

A server can declare that its numbers are not real (:attr:`autotuner.study.trial.Trial.simulated`). Every output shows
:func:`simulated_text` once at its top, and :data:`MARK` next to each simulated trial.
"""

from collections.abc import Iterable, Mapping

from autotuner.study.trial import Trial

MARK = "simulated"
ALL = "All numbers are simulated: no real GPU was measured"
_SHOWN = 8


def simulated_text(kinds: Mapping[int, bool]) -> str:
    """One sentence without its full stop; empty if nothing is simulated.

    Args:
        kinds: Whether its numbers are simulated, for each trial with numbers.
    """
    found = sorted(number for number, simulated in kinds.items() if simulated)
    if not found:
        return ""
    if len(found) == len(kinds):
        return ALL
    numbers = ", ".join(map(str, found[:_SHOWN])) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
    are = f"trials {numbers} are" if len(found) > 1 else f"trial {numbers} is"
    return f"Simulated and measured numbers stand side by side and cannot be compared: {are} simulated"


def simulated_trials(trials: Iterable[Trial]) -> str:
    """:func:`simulated_text` for stored trials.

    A trial that still runs, or was cut off by the end of a run, does not know yet what its server declares.
    """
    return simulated_text({t.number: t.simulated for t in trials if t.measurements and t.state.finished})
