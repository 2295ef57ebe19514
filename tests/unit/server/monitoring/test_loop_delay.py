"""The delay of the event loop."""

import time

import anyio
import pytest
from prometheus_client import CollectorRegistry

from autotuner.server.monitoring.loop_delay import LoopDelay


@pytest.mark.anyio
async def test_a_blocked_loop_is_late() -> None:
    registry = CollectorRegistry()
    delay = LoopDelay(registry)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(delay.watch)
        await anyio.sleep(0.01)
        time.sleep(0.5)  # noqa: ASYNC251 - blocking is what is measured
        await anyio.sleep(0.15)
        tasks.cancel_scope.cancel()
    total = registry.get_sample_value("autotuner_event_loop_delay_seconds_sum")
    assert total is not None
    assert total >= 0.39  # 0.5 s, less what it would have slept
