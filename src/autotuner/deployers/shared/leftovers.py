"""Servers that a run left behind on a platform: found by their labels, judged by their owner, removed.

A platform lists the objects that carry our labels; which of them are removed is decided here, the same way for all
platforms.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio

from autotuner.study.failure import TrialFailedError

IsDead = Callable[[str], bool]
"""Whether the owner with this id is known to be dead."""


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Leftover:
    """One object on the platform that carries our labels."""

    kind: str
    """The platform's term for it, e.g. ``container``."""
    name: str
    study: str
    trial: str
    owner: str
    remove: Callable[[], Awaitable[None]]
    """Removes it and everything that belongs to it. Raises ``TrialFailedError``."""
    runner_ended: bool = False
    """The process that created it is known to have ended, whatever a store says about its owner."""

    @property
    def text(self) -> str:
        """One line for the user."""
        return f"{self.kind} {self.name} of study {self.study} trial {self.trial} (owner {self.owner})"


class Held:
    """Names of the objects that a deployer's running deployments still need."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    @contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Keeps an object from being swept, for the time of the block."""
        self._names.add(name)
        try:
            yield
        finally:
            self._names.discard(name)


async def sweep(leftovers: Iterable[Leftover], held: Held) -> None:
    """Removes an owner's own leftovers before its next launch. Raises ``TrialFailedError`` for the first that stays."""
    for leftover in leftovers:
        if leftover.name not in held:
            logger.info("removing %s before the next launch", leftover.text)
            await leftover.remove()


async def reap(leftovers: Iterable[Leftover], is_dead: IsDead, study: str | None) -> list[str]:
    """Removes what dead owners left behind, of one ``study`` or of all. Returns one line per object, also for an object
    that could not be removed."""
    of_study = [one for one in leftovers if study in {None, one.study}]
    for one in of_study:
        logger.debug("found %s; its owner has ended: %s", one.text, one.runner_ended or is_dead(one.owner))
    return [await _reaped(one) for one in of_study if one.runner_ended or is_dead(one.owner)]


async def _reaped(leftover: Leftover) -> str:
    try:
        # Half a removal would leave an object that no later run finds by its labels.
        with anyio.CancelScope(shield=True):
            await leftover.remove()
    except TrialFailedError as error:
        return f"{leftover.text} could not be removed: {error.failure.message}"
    return f"removed {leftover.text}"
