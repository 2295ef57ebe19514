"""A worker goes on after a failing look at the store: servers would otherwise run without one."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import autotuner
from autotuner.api.fleet.settings import WorkerSettings
from autotuner.api.fleet.worker import working_beside
from autotuner.store.owners import WorkerTable
from autotuner.store.queue import QueueTable


def until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("table", "call"), [(QueueTable, "take"), (WorkerTable, "heartbeat"), (WorkerTable, "register")]
)
def test_a_defect_does_not_end_the_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, table: type, call: str
) -> None:
    real = getattr(table, call)
    calls = 0

    def fail_twice(self: object, *args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls <= 2:
            raise RuntimeError("no more threads")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(table, call, fail_twice)
    monkeypatch.setattr("autotuner.api.fleet.worker._AGAIN_S", 0.05)
    tuner = autotuner.open()
    with working_beside(None, WorkerSettings(lease_s=0.5)):
        until(lambda: calls > 2)
        assert "worker" in [thread.name for thread in threading.enumerate()]
        until(lambda: [found.worker.state for found in tuner.workers()] == ["running"])
    defects = [record for record in caplog.records if "no more threads" in record.getMessage()]
    assert [record.exc_info is not None for record in defects] == [True], "logged once, with its traceback"
    assert [found.worker.state for found in tuner.workers()] == ["ended"]
