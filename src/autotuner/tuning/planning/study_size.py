"""Size of a study: the points of its grid, and the launches it takes at most."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from autotuner.study.configuration import Configuration
from autotuner.study.parameters.space import Space
from autotuner.study.spec import StudySpec
from autotuner.tuning.proof.blocks import most_launches

CHECKED_POINTS = 100_000
"""A space with at most this many points is searched for ones that can be launched."""
COMPARED_POINTS = 10_000
"""In a space with at most this many points all command lines are compared, which takes half a millisecond each."""


@dataclass(frozen=True)
class StudySize:
    """Counts of one study."""

    launchable: int | None
    """Grid points that satisfy constraints and engine; None if there are too many to count, or no parameters."""
    others: int | None
    """Different servers among these besides the default's; None if there are too many to compare, or no parameters."""
    trials: int
    """Launches of the search at most, the default included."""
    repeats: int
    """Launches of the proof at most."""


def study_size(
    spec: StudySpec,
    space: Space,
    *,
    valid: Callable[[Configuration], bool],
    identity: Callable[[Configuration], str],
    defaults: Collection[Configuration],
    compare: bool,
) -> StudySize:
    """Counts the grid in one pass.

    Args:
        spec: The study.
        space: Its parameters and constraints.
        valid: Whether a configuration can be launched, as far as that is known before a launch.
        identity: Equal for two configurations that start the same server.
        defaults: Ways to write the default.
        compare: Whether two points may start the same server, so that their launches have to be compared.
    """
    if not spec.parameters:
        return StudySize(launchable=None, others=None, trials=1, repeats=0)
    launchable, others = _counted(space, valid, identity, defaults, compare=compare)
    trials = spec.search.trials if others is None else min(spec.search.trials, others + 1)
    repeats = most_launches(spec.confirm, trials - 1)
    return StudySize(launchable=launchable, others=others, trials=trials, repeats=repeats)


def _counted(
    space: Space,
    valid: Callable[[Configuration], bool],
    identity: Callable[[Configuration], str],
    defaults: Collection[Configuration],
    *,
    compare: bool,
) -> tuple[int | None, int | None]:
    """(points that can be launched, different servers besides the default's)."""
    if space.size is None or space.size > CHECKED_POINTS:
        return None, None
    comparable = not compare or space.size <= COMPARED_POINTS
    launchable = 0
    servers = set[str]()
    for configuration in space.grid():
        if valid(configuration):
            launchable += 1
            if comparable:
                servers.add(identity(configuration))
    return launchable, len(servers.difference(map(identity, defaults))) if comparable else None
