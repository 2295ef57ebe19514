"""A search strategy that computes in a thread, so that trials, heartbeats and the live table go on meanwhile."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from anyio.to_thread import run_sync

from autotuner.plugins.search import Search
from autotuner.study.trial import Trial

T = TypeVar("T")


def _one_thread() -> AbstractContextManager[object]:
    """Keeps linear algebra from using every core: its matrices are small, and trials are being measured meanwhile."""
    import numpy  # noqa: F401 - the limit holds for libraries that are loaded
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits


class SearchThread:
    """Passes results and questions to one search, which is never used by two threads at a time."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._untold: list[Callable[[Search], None]] = []
        self._in_use = threading.Lock()

    def tell(self, trial: Trial) -> None:
        """As :meth:`Search.tell`, before the next question: the search may be computing now."""
        self._untold.append(lambda search: search.tell(trial))

    def tell_repeat(self, trial: Trial) -> None:
        """As :meth:`Search.tell_repeat`."""
        self._untold.append(lambda search: search.tell_repeat(trial))

    async def ask(self, question: Callable[[Search], T]) -> T:
        """The answer to a question. The search knows all results passed until now.

        A cancellation does not wait for the answer, and the study does not ask again after one. The thread goes on
        until it has its answer, which takes seconds at most, and the process does not end before.
        """
        untold = self._untold
        self._untold = []

        def answer() -> T:
            with self._in_use, _one_thread():
                for told in untold:
                    told(self._search)
                return question(self._search)

        return await run_sync(answer, abandon_on_cancel=True)
