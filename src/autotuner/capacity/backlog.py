"""Saturation: a queue that grows for as long as the load lasts, noticed while it does."""

_FEWEST = 48
_EVERY = 8
_CHANCE = 5.0
"""Standard deviations of the arrivals by which a healthy queue may grow by chance, at any of many looks."""
_SHARE = 0.2
"""Least part of the arrivals that must have stayed in the queue."""
_LATE = 0.25
"""Least part of the growth that falls into the second half; half of it where a queue grows evenly."""


class Backlog:
    """Requests in flight at each arrival of one level."""

    def __init__(self) -> None:
        self._counts: list[int] = []

    def arrive(self, in_flight: int) -> bool:
        """Adds an arrival.

        Args:
            in_flight: Requests in flight when it arrived.

        Returns:
            Whether the server is saturated: the queue has grown by more than chance explains, and still grows.
        """
        counts = self._counts
        counts.append(in_flight)
        arrived = len(counts)
        if arrived < _FEWEST or arrived % _EVERY:
            return False
        grown = counts[-1] - counts[0]
        late = counts[-1] - counts[arrived // 2]
        return grown > max(_CHANCE * arrived**0.5, _SHARE * arrived) and late > _LATE * grown
