"""A timer for absolute monotonic times, accurate to about ten microseconds.

The event loop's own timers count whole milliseconds, so that a request would leave up to a millisecond early or late.
Linux has timers that are file descriptors, which the loop can wait for; elsewhere the loop's timers must do.
"""

import asyncio
import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from time import monotonic_ns

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1


class _Moment(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Moment), ("moment", _Moment))


class Alarm:
    """Calls a function once at the time that was set last.

    Args:
        ring: The function.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle = -1
        with suppress(AttributeError):
            self._handle = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._handle >= 0:
            self._loop.add_reader(self._handle, self._expired)

    def set(self, at_ns: int) -> None:
        """Sets the time, as of :func:`time.monotonic_ns`; a past one rings at once."""
        if self._handle < 0:
            self._timer = self._loop.call_later(max(0.0, (at_ns - monotonic_ns()) / 1e9), self._ring)
            return
        setting = _Setting(_Moment(0, 0), _Moment(*divmod(max(1, at_ns), 1_000_000_000)))
        self._libc.timerfd_settime(self._handle, _ABSOLUTE, ctypes.byref(setting), None)

    def close(self) -> None:
        """Ends the timer; it rings no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._handle >= 0:
            self._loop.remove_reader(self._handle)
            os.close(self._handle)
            self._handle = -1

    def _expired(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._handle, 8)
            self._ring()
