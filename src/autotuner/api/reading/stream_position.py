"""Position in the events of all studies."""

from collections.abc import Collection, Sequence


class StreamPosition:
    """Which events were seen.

    Events are numbered when they are written, and become visible when their transaction ends. Within a study both
    happen in the same order, because writers lock the study's row; but an event of another study may become visible
    after one with a larger number. So numbers that are missing are looked for again for a while. Most of them never
    come: databases leave gaps where transactions are undone.
    """

    WINDOW = 1000
    """Numbers that are looked for at most."""
    PATIENCE_S = 10.0
    """How long a missing number is looked for; transactions that append an event take milliseconds."""

    def __init__(self, newest: Sequence[int], now: float) -> None:
        """Begins at the newest numbers, in ascending order, at a time in seconds."""
        self.highest = newest[-1] if newest else 0
        self.oldest = newest[0] - 1 if newest else 0
        self._missing = dict.fromkeys(sorted(set(range(self.oldest + 1, self.highest)) - set(newest)), now)
        self._limit()

    @property
    def missing(self) -> Collection[int]:
        """Numbers to look for again, in ascending order."""
        return self._missing.keys()

    @property
    def settled(self) -> int:
        """All events up to this number were seen or will not come."""
        return min(self._missing, default=self.highest + 1) - 1

    def advance(self, found: Sequence[int], now: float) -> set[int]:
        """Moves behind these numbers.

        Args:
            found: Numbers above :attr:`highest` or in :attr:`missing`, in ascending order.
            now: Seconds.

        Returns:
            Those that were not seen before.
        """
        new = {number for number in found if number > self.highest or number in self._missing}
        for number in new:
            self._missing.pop(number, None)
        for number in (number for number, since in list(self._missing.items()) if now - since > self.PATIENCE_S):
            del self._missing[number]
        top = max(new, default=self.highest)
        if top > self.highest:
            first = max(self.highest + 1, top - self.WINDOW)
            self._missing.update(dict.fromkeys((n for n in range(first, top) if n not in new), now))
            self.highest = top
            self._limit()
        return new

    def _limit(self) -> None:
        for number in list(self._missing)[: max(0, len(self._missing) - self.WINDOW)]:
            del self._missing[number]
