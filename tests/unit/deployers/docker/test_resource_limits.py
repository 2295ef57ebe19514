"""Requested ulimits compared with the limits of the engine's process."""

import pytest

from autotuner.deployers.docker.resource_limits import exceeding

LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max stack size            8388608              unlimited            bytes
Max open files            1024                 524288               files
Max locked memory         8388608              8388608              bytes
"""


@pytest.mark.parametrize(
    ("requested", "exceeds"),
    [
        ({"memlock": -1}, True),
        ({"memlock": 8388608}, False),
        ({"memlock": "1:9000000"}, True),
        ({"stack": 67108864}, False),
        ({"nofile": 1048576}, True),
        ({"nofile": "1024:524288"}, False),
        ({"unknown": 1}, False),
    ],
)
def test_limits_above_those_of_the_engine(requested: dict[str, int | str], exceeds: bool) -> None:
    assert bool(exceeding(LIMITS, requested)) is exceeds
