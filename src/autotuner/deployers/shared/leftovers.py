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
from autotuner.study.launch import LaunchedObject

IsDead = Callable[[str], bool]
"""Whether the owner with this id is known to be dead."""


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Leftover:
    """An object that a run created, and how to remove it."""

    found: LaunchedObject
    remove: Callable[[], Awaitable[None]]
    """Removes it and everything that belongs to it. Raises ``TrialFailedError``."""


def trial_number(label: str | None) -> int | None:
    """The trial that a label names; None if it names none."""
    return int(label) if label and label.isdecimal() else None


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
        if leftover.found.name not in held:
            logger.info("removing %s before the next launch", leftover.found.text)
            await leftover.remove()


async def reap(leftovers: Iterable[Leftover], is_dead: IsDead, study: str | None) -> list[str]:
    """Removes what dead owners left behind, of one ``study`` or of all. Returns one line per object, also for an object
    that could not be removed."""
    of_study = [one for one in leftovers if study in {None, one.found.study}]
    dead = [one for one in of_study if one.found.runner_ended or is_dead(one.found.owner)]
    for one in of_study:
        logger.debug("found %s; its owner has ended: %s", one.found.text, one in dead)
    return [await _reaped(one) for one in dead]


async def _reaped(leftover: Leftover) -> str:
    try:
        # Half a removal would leave an object that no later run finds by its labels.
        with anyio.CancelScope(shield=True):
            await leftover.remove()
    except TrialFailedError as error:
        return f"{leftover.found.text} could not be removed: {error.failure.message}"
    return f"removed {leftover.found.text}"
