"""Size of a study: the points of its grid, and the launches it takes at most; a study must have something to launch."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from autotuner.errors import Problem, UsageError
from autotuner.plugins.search import Stop
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.portable import is_portable
from autotuner.study.parameters.space import Space
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole
from autotuner.tuning.proof.blocks import most_launches

if TYPE_CHECKING:
    from autotuner.tuning.planning.prepared_study import Prepared

CHECKED_POINTS = 100_000
"""A space with at most this many points is searched for ones that can be launched."""
COMPARED_POINTS = 10_000
"""In a space with at most this many points all command lines are compared, which takes half a millisecond each."""


EVERYWHERE = "parameters"
"""Where a problem is that no single flag has."""


@dataclass(frozen=True)
class StudySize:
    """Counts of one study."""

    launchable: int | None
    """Grid points that satisfy constraints and engine; None if there are too many to count, or no parameters."""
    others: int | None
    """Different servers besides the default's, those of other engines' defaults included; None if there are too many to
    compare, or no parameters."""
    trials: int
    """Launches of the search at most, the default included."""
    repeats: int
    """Launches of the proof at most."""
    misfits: int = 0
    """Grid points that the engine accepts and that cannot fit in memory; not among ``launchable``."""
    misfit: str = ""
    """The first of these, with its reason."""
    refused: int = 0
    """Grid points within the constraints that the engine refuses because of one of their flags."""
    refusals: tuple[str, ...] = ()
    """The first of these for each flag that is refused, with its reason."""

    @property
    def fits_nowhere(self) -> bool:
        """Whether nothing is launchable, and would be with more memory."""
        return self.launchable == 0 and self.misfits > 0


def study_size(
    spec: StudySpec,
    space: Space,
    *,
    refusal: Callable[[Configuration], Problem | None],
    identity: Callable[[Configuration], str],
    defaults: Collection[Configuration],
    compare: bool,
    misfit: Callable[[Configuration], str],
    other_defaults: int = 0,
) -> StudySize:
    """Counts the grid in one pass.

    Args:
        spec: The study.
        space: Its parameters and constraints.
        refusal: Why a configuration cannot be launched whatever memory it takes, as far as that is known before.
        identity: Equal for two configurations that start the same server.
        defaults: Ways to write the default.
        compare: Whether two points may start the same server, so that their launches have to be compared.
        misfit: Why an accepted configuration cannot fit in memory; empty if it may.
        other_defaults: Defaults among ``defaults`` that are launched besides the study's, those of other engines.
    """
    if not spec.parameters:
        return StudySize(launchable=None, others=None, trials=1, repeats=0)
    counted = _counted(space, refusal, identity, defaults, misfit, compare=compare)
    others = None if counted.others is None else counted.others + other_defaults
    trials = spec.search.trials if others is None else min(spec.search.trials, others + 1)
    repeats = most_launches(spec.confirm, trials - 1, other_defaults)
    return replace(counted, others=others, trials=trials, repeats=repeats)


def _counted(
    space: Space,
    refusal: Callable[[Configuration], Problem | None],
    identity: Callable[[Configuration], str],
    defaults: Collection[Configuration],
    misfit: Callable[[Configuration], str],
    *,
    compare: bool,
) -> StudySize:
    """The counts of the grid, with 0 launches."""
    if space.size is None or space.size > CHECKED_POINTS:
        return StudySize(launchable=None, others=None, trials=0, repeats=0)
    comparable = not compare or space.size <= COMPARED_POINTS
    launchable = 0
    servers = set[str]()
    misfits = 0
    first = ""
    refused = 0
    refusals: dict[str, str] = {}
    for configuration in space.grid():
        if (problem := refusal(configuration)) is not None:
            if problem.where != EVERYWHERE:  # other warnings name the values that need too many GPUs
                refused += 1
                refusals.setdefault(problem.where, _reason(configuration, problem))
            continue
        if why := misfit(configuration):
            misfits += 1
            first = first or f"{configuration.text}: {why}"
            continue
        launchable += 1
        if comparable:
            servers.add(identity(configuration))
    return StudySize(
        launchable=launchable,
        others=len(servers.difference(map(identity, defaults))) if comparable else None,
        trials=0,
        repeats=0,
        misfits=misfits,
        misfit=first,
        refused=refused,
        refusals=tuple(refusals.values()),
    )


def _reason(configuration: Configuration, problem: Problem) -> str:
    flag = problem.where != EVERYWHERE and not is_portable(problem.where)  # its reason is a sentence of its own
    return f"{configuration.text}: {problem.where} {problem.why}" if flag else f"{configuration.text}: {problem.why}"


def check_something_valid(prepared: "Prepared") -> None:
    """Refuses a space in which nothing can be launched."""
    size = prepared.space.size
    if not prepared.spec.parameters or size is None or size > CHECKED_POINTS:
        return
    if not any(prepared.valid(c) for c in prepared.space.grid()):
        raise UsageError(nothing_valid(prepared))


def nothing_valid(prepared: "Prepared", so: str = "") -> Problem:
    """The problem of a space in which nothing can be launched; ``so`` is what follows from it, in front."""
    size = prepared.space.size
    why = f"none of the {size} configurations satisfies the constraints"
    remedy = "widen the values or relax a constraint"
    if prepared.size.misfits:
        why = f"none of the {size} configurations can be launched; {prepared.size.misfit}"
        flags = (found.raise_flag for c in prepared.space.grid() if (found := prepared.misfit(c)) is not None)
        flag = next((flag for flag in flags if flag), "")
        remedy = f"raise {flag}" if flag else "add values that fit, or use GPUs with more memory"
    elif (first := next(prepared.space.grid(), None)) and (refused := prepared.refusal(first)):
        why = f"none of the {size} configurations can be launched; {_reason(first, refused)}"
        remedy = refused.remedy or "add values that the engine accepts"
    return Problem(where=EVERYWHERE, why=so + why, remedy=remedy)


def check_something_to_try(prepared: "Prepared") -> None:
    """Refuses a space in which every point starts the server that it would be compared with."""
    search = prepared.search()
    if not prepared.spec.parameters:
        return
    default = Trial(study=prepared.spec.name, number=0, role=TrialRole.DEFAULT, configuration=prepared.reference)
    asked = search.ask((default,))
    if not isinstance(asked, Stop):
        return
    same = prepared.size.others == 0
    word = prepared.spec.reference_word
    why = f"every configuration starts the same server as the {word}" if same else f"nothing to try: {asked.why}"
    remedy = f"add values that differ from the {word}" if same else "widen the values or relax a constraint"
    raise UsageError(Problem(where="parameters", why=why, remedy=remedy))
