"""Coverage of the beginning of each unit test: tracing doubles the CPU time of those that run longer.

What a test has not reached by then it hardly reaches later: property tests take the same paths with other examples,
and searches make the same steps with other trials.
"""

import signal
from collections.abc import Generator

import pytest
from coverage import Coverage

BUDGET_S = 0.4
"""CPU time of this process."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Stops measuring coverage within a test that runs long."""
    cover = Coverage.current()
    if cover is None:
        return (yield)
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        cover.stop()

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, BUDGET_S)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        if stopped:
            cover.start()
