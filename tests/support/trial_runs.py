"""Single trials on doubles, for tests of the trial runner."""

from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.study.configuration import Configuration
from autotuner.study.measurement import Measurement
from autotuner.testing.fake_deployer import Behavior, FakeDeployer

EIGHT = Configuration(values={"parallel": 8})


@pytest.fixture(autouse=True)
def no_leases_are_left(loop: Any) -> Iterator[None]:
    """Checks after each test that the trial released its leases, however it ended."""
    yield
    assert [r for r in loop.store.leases.all() if r.owner_id == "me"] == []


async def measure_forever(_: Endpoint, __: Window) -> Measurement:
    await anyio.sleep_forever()
    raise AssertionError("unreachable")


def deployer_of(**behavior: Any) -> FakeDeployer:
    return FakeDeployer(behavior=lambda _: Behavior(**behavior))
