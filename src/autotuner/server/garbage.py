"""When the server collects garbage: a collection holds the interpreter's lock, so all requests and streams wait."""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

_YOUNG = 5_000
"""Objects to allocate before the newest ones are looked at, instead of Python's 700. What the server keeps has hardly
any cycles, so little waits for it."""
_ROUNDS = 2
"""Collections of the newest objects before their survivors are looked at once more, and then no longer."""
_LOOK_S = 30.0
"""Time between two looks at whether all objects can be looked at."""
_WORTH = 100_000
"""Kept objects from which a full collection is worthwhile while the server is idle."""
_MOST = 3_000_000
"""Kept objects from which one is necessary even under load, about 300 MB."""


class Garbage:
    """Keeps collections short while there are requests.

    A collection takes longer the more objects it looks at, and a server that has read large studies keeps many. So
    objects that have survived two collections are left out of later ones. Those without cycles, nearly all, are freed
    as soon as they are not used anymore; the others wait until the server has nothing to do.
    """

    def __init__(self, activity: Callable[[], tuple[int, int]]) -> None:
        """``activity`` returns how many streams are open, and how many requests were answered."""
        self._activity = activity
        self._answered = -1
        self._known = 0
        """Objects that survived the last full collection."""

    @contextmanager
    def collected_rarely(self) -> Iterator[None]:
        """Applies the policy to this process."""
        before = gc.get_threshold()
        ended = Event()
        thread = Thread(target=self._watch, args=(ended,), name="garbage", daemon=True)
        gc.freeze()  # modules and the application stay until the end
        self._known = gc.get_freeze_count()
        gc.set_threshold(_YOUNG, _ROUNDS, before[2])
        gc.callbacks.append(_keep_survivors)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            gc.callbacks.remove(_keep_survivors)
            gc.set_threshold(*before)

    def look(self) -> bool:
        """Collects everything if that is worth the pause. Returns whether it did."""
        streams, answered = self._activity()
        idle = streams == 0 and answered == self._answered
        self._answered = answered
        if gc.get_freeze_count() - self._known <= (_WORTH if idle else _MOST):
            return False
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._known = gc.get_freeze_count()
        return True

    def _watch(self, ended: Event) -> None:
        while not ended.wait(_LOOK_S):
            self.look()


def _keep_survivors(phase: str, info: Mapping[str, Any]) -> None:
    if phase == "stop" and info["generation"] > 0:
        gc.freeze()
