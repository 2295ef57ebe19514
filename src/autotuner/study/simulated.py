"""Simulated numbers are called so wherever they appear: the one place that says how.

A server may say of itself that its numbers are not real (:attr:`autotuner.study.trial.Trial.simulated`). Every output
shows :func:`simulated_text` once, where a reader begins, and :data:`MARK` beside each trial that it is about.
"""

from collections.abc import Iterable, Mapping

from autotuner.study.trial import Trial

MARK = "simulated"
ALL = "All numbers are simulated: no real GPU was measured"
_SHOWN = 8


def simulated_text(kinds: Mapping[int, bool]) -> str:
    """One sentence without its full stop; empty where nothing is simulated.

    ``kinds`` tells of each trial that has numbers, by its number, whether they are simulated.
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
    """:func:`simulated_text` of stored trials."""
    return simulated_text({t.number: t.simulated for t in trials if t.measurements})
