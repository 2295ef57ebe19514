"""Saturation: a queue that grows for as long as the load lasts, noticed while it does."""

_FEWEST = 96
_EVERY = 8
_CHANCE = 8.0
"""Standard deviations of the arrivals by which a healthy queue may grow by chance, at any of many looks. Requests that
share an engine slow each other down, so its queue varies more than its arrivals do."""
_SHARE = 0.2
"""Least part of the arrivals that must have stayed in the queue."""
_COMPLETED = 4
"""Fewest requests that must have left in the first half."""
_FASTER = 1.2
"""Factor by which more requests may leave in the second half. A saturated server completes them evenly; one that only
fills up, as at the start of any level, completes more and more of them."""
_LATE = 0.4
"""Least part of the growth that falls into the second half: half of it where a queue grows evenly, a quarter where a
server fills up."""


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
        half = arrived // 2
        grown = counts[-1] - counts[0]
        late = counts[-1] - counts[half]
        left_early = half - (counts[half] - counts[0])
        left_late = arrived - half - late
        evenly = left_early >= _COMPLETED and left_late <= _FASTER * left_early
        return grown > max(_CHANCE * arrived**0.5, _SHARE * arrived) and late > _LATE * grown and evenly
