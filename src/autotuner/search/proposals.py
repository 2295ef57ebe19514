"""Configurations that a search may still propose; shared by all strategies.

A stream of candidates is filtered once (constraints, the catalog's ``valid``) and kept; a proposal is the first one
that the history has not used. So proposals depend only on the seed and the history, the configuration of a void trial
is available again, and the space is exhausted when the stream ends.
"""

from collections.abc import Iterator, Sequence

from autotuner.plugins.search import SearchContext, Stop
from autotuner.search.points import Points
from autotuner.study.configuration import Configuration
from autotuner.study.trial import Trial, TrialRole, TrialState

USED_UP = Stop("the space is used up: every allowed configuration was tried")
LISTED = 1000
"""Most untried configurations that a model compares for one proposal; a space with more is sampled."""
MAX_REJECTED = 200_000
"""Consecutive candidates that may violate a constraint before the search gives up."""


class Proposals:
    """The allowed configurations of a stream, in its order, computed as they are needed."""

    def __init__(self, context: SearchContext, stream: Iterator[Configuration]) -> None:
        self._context = context
        self._stream = stream
        self._found: list[tuple[str, Configuration]] = []
        """With their identities."""
        self._identities: set[str] = set()
        self._end: Stop | None = None

    def first_unused(self, used: frozenset[str]) -> Configuration | Stop:
        """The first allowed configuration whose identity is not in ``used``."""
        return next(self.unused(used), None) or self._end or USED_UP

    def unused(self, used: frozenset[str]) -> Iterator[Configuration]:
        """All allowed configurations whose identities are not in ``used``, lazily."""
        return (configuration for _, configuration in self.identified(used))

    def identified(self, used: frozenset[str]) -> Iterator[tuple[str, Configuration]]:
        """As :meth:`unused`, with their identities."""
        at = 0
        while at < len(self._found) or self._more():
            identity, configuration = self._found[at]
            if identity not in used:
                yield identity, configuration
            at += 1

    def _more(self) -> bool:
        """Finds one more allowed configuration; false at the end of the stream."""
        if self._end is not None:
            return False
        for rejected, candidate in enumerate(self._stream):
            if allowed(self._context, candidate):
                identity = self._context.identity(candidate)
                if identity in self._identities:
                    continue  # another spelling of a configuration that was already found
                self._identities.add(identity)
                self._found.append((identity, candidate))
                return True
            if rejected >= MAX_REJECTED:
                why = f"no allowed configuration among {rejected} candidates in a row; loosen the constraints"
                self._end = Stop(why)
                return False
        self._end = USED_UP
        return False


def shuffled(context: SearchContext) -> Proposals:
    """The whole space in an order fixed by the context's seed."""
    return Proposals(context, Points(context.space).shuffled(context.seed))


def allowed(context: SearchContext, configuration: Configuration) -> bool:
    """Whether the constraints of the space and the engine's catalog allow the configuration."""
    return context.space.allows(configuration) and context.valid(configuration)


def used(context: SearchContext, history: Sequence[Trial]) -> frozenset[str]:
    """Identities that must not be proposed: those of the history, and the default's however it is spelled."""
    identities = {context.identity(t.configuration) for t in history if t.state is not TrialState.VOID}
    if context.default is not None:
        identities.add(context.identity(context.default))
    return frozenset(identities)


def spelled_out(context: SearchContext, trial: Trial) -> Configuration:
    """The trial's configuration in terms of the space's parameters; the default's own one sets nothing."""
    if trial.role is TrialRole.DEFAULT and context.default is not None:
        return context.default
    return trial.configuration
