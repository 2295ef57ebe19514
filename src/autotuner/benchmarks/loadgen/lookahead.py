"""Requests built ahead of their arrival, so that building them delays neither the arrival nor a token's time stamp."""

import asyncio
from collections import deque
from collections.abc import Callable

from autotuner.benchmarks.loadgen.http.request import Request

MOST_BYTES = 48_000_000
MOST_REQUESTS = 512


class Lookahead:
    """A queue of requests that refills itself one request at a time, between other events of the loop.

    Args:
        build: Builds the next request.
        count: How many there are to build.
    """

    def __init__(self, build: Callable[[], Request], count: int) -> None:
        self._build = build
        self._left = count
        self._ready: deque[Request] = deque()
        self._size = 0
        self._refilling = False

    def fill(self) -> None:
        """Builds as many requests as may be held."""
        while self._wants_more():
            self._add()

    def take(self) -> Request:
        """The next request."""
        if not self._ready:
            self._add()
        request = self._ready.popleft()
        self._size -= len(request.payload)
        if not self._refilling and self._wants_more():
            self._refilling = True
            asyncio.get_running_loop().call_soon(self._refill)
        return request

    def _wants_more(self) -> bool:
        return self._left > 0 and len(self._ready) < MOST_REQUESTS and self._size < MOST_BYTES

    def _refill(self) -> None:
        self._add()
        self._refilling = self._wants_more()
        if self._refilling:
            asyncio.get_running_loop().call_soon(self._refill)

    def _add(self) -> None:
        request = self._build()
        self._left -= 1
        self._size += len(request.payload)
        self._ready.append(request)
