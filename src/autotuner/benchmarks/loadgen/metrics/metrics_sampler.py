"""Samples a server's Prometheus metrics: ``python -m autotuner.benchmarks.loadgen.metrics.metrics_sampler``.

The spec (:class:`~autotuner.benchmarks.loadgen.metrics.server_metrics.SamplerSpec`) is the first line of stdin. When
stdin ends, one more sample is taken and one line of JSON written: ``path``, ``at_ns`` (monotonic), ``series`` (a list
of values per series, null where a sample lacked it), ``failed``, ``notes``.

Cost is bounded: a lower priority, one request at a time, a pause after every answer, at most
:data:`MOST_SAMPLES` kept. Standard library and orjson only.
"""

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable
from time import monotonic, monotonic_ns
from types import FrameType
from typing import Any, TypeVar

import orjson

from autotuner.benchmarks.loadgen.metrics.prometheus_text import Samples, read_samples
from autotuner.benchmarks.loadgen.metrics.scrape import FAILED, REFUSED, ScrapeError, Scraper
from autotuner.benchmarks.loadgen.metrics.server_metrics import SamplerSpec

T = TypeVar("T")

MOST_SAMPLES = 2000
"""When there are so many, every second one is dropped and the interval doubled."""
_BUSY_SHARE = 10
"""An answer is followed by a pause of ten times its duration, so that a slow endpoint is not kept busy. Most of a long
answer is waiting: llama.cpp answers between two decoding steps."""
_LONGEST_PAUSE_S = 2.0
_FAILURES = 5
"""In a row; then the endpoint is left alone."""
_NICE = 5


class Sampling:
    """The samples so far."""

    def __init__(self, spec: SamplerSpec) -> None:
        self._ask = spec.ask
        self._scraper = Scraper(spec.url, spec.headers, spec.access)
        self._paths = list(spec.ask.paths)
        self._names = frozenset(spec.ask.names)
        self._interval_s = spec.ask.interval_s
        self._at_ns: list[int] = []
        self._values: list[dict[str, float]] = []
        self._failed = 0
        self._failed_in_a_row = 0
        self._unreadable = 0
        self._notes: dict[str, None] = {}
        self.given_up = False

    def sample(self) -> float:
        """Takes one sample; gives the pause before the next, in seconds."""
        begun = monotonic()
        try:
            found, arrived_ns = _in_time(self._ask.timeout_s, self._asked)
            self._kept(found, arrived_ns)
        except ScrapeError as error:
            self._failure(error)
        took = monotonic() - begun
        return max(self._interval_s - took, min(_BUSY_SHARE * took, _LONGEST_PAUSE_S))

    def _asked(self) -> tuple[Samples, int]:
        """The wanted samples of one text, and when it was there."""
        text = self._scraper.get(self._paths[0])
        arrived_ns = monotonic_ns()
        return read_samples(text, self._names), arrived_ns

    def _kept(self, found: Samples, arrived_ns: int) -> None:
        if not found.values:
            raise ScrapeError(REFUSED, f"{self._paths[0]} has none of the known metrics")
        self._failed_in_a_row = 0
        self._unreadable += found.unreadable
        if found.cut:
            self._notes["more series than are read: the figures lack some"] = None
        self._at_ns.append(arrived_ns)
        self._values.append(found.values)
        if len(self._at_ns) >= MOST_SAMPLES:
            self._interval_s *= 2
            del self._at_ns[::2]
            del self._values[::2]

    def _failure(self, error: ScrapeError) -> None:
        refused = error.kind == REFUSED and not self._at_ns
        if refused and len(self._paths) > 1:
            self._paths.pop(0)
            return
        self._failed += 1
        self._failed_in_a_row += 1
        self._notes[str(error)] = None
        self.given_up = refused or self._failed_in_a_row >= _FAILURES

    def close(self) -> None:
        """Ends the connection."""
        self._scraper.close()

    def result(self) -> dict[str, Any]:
        """What was sampled, by series."""
        series = dict.fromkeys(name for values in self._values for name in values)
        notes = list(self._notes)[:_FAILURES]
        if self._unreadable:
            notes.append(f"{self._unreadable} lines were not samples with finite numbers")
        return {
            "path": self._paths[0],
            "at_ns": self._at_ns,
            "series": {name: [values.get(name) for values in self._values] for name in series},
            "failed": self._failed,
            "notes": notes,
        }


def _in_time(limit_s: float, work: Callable[[], T]) -> T:
    """The work's result. One timer bounds all of it: a socket's own timeout begins anew with each byte."""

    def late(_number: int, _frame: FrameType | None) -> None:
        raise ScrapeError(FAILED, f"no complete answer within {limit_s:g} s")

    signal.signal(signal.SIGALRM, late)
    # Repeated: an exception that a signal raises inside a destructor is lost.
    signal.setitimer(signal.ITIMER_REAL, limit_s, 0.5)
    try:
        return work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _ended(wait_s: float) -> bool:
    """Whether stdin ends within this time; nothing else is ever sent."""
    ready, _, _ = select.select([0], [], [], wait_s)
    return bool(ready)


def main() -> int:
    """Samples until stdin ends, then says what was seen."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the load generator ends its child by closing the pipe
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    sampling = Sampling(SamplerSpec.from_json(_first_line()))
    pause_s = sampling.sample()
    while not _ended(86_400.0 if sampling.given_up else pause_s):
        pause_s = sampling.sample()
    if not sampling.given_up:
        sampling.sample()
    data = memoryview(orjson.dumps(sampling.result(), option=orjson.OPT_APPEND_NEWLINE))
    with contextlib.suppress(BrokenPipeError):
        while data:
            data = data[os.write(1, data) :]
    return 0


def _first_line() -> bytes:
    """Read past Python's buffers, in which ``select`` would not see what follows. Nothing does, but the end."""
    line = bytearray()
    while not line.endswith(b"\n"):
        data = os.read(0, 1 << 16)
        if not data:
            break
        line += data
    return bytes(line)


if __name__ == "__main__":
    sys.exit(main())
