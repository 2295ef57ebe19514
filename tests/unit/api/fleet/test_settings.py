"""Settings of a worker."""

from typing import Any

import pytest

from autotuner.api.fleet.settings import worker_settings
from autotuner.errors import UsageError


def test_labels_are_parsed() -> None:
    assert worker_settings(at_most=2, labels=["gpu=h100", "zone=eu"]).labels == {"gpu": "h100", "zone": "eu"}


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"labels": ["gpu"]}, "--label"),
        ({"labels": ["gpu=a", "gpu=b"]}, "--label"),
        ({"at_most": 0}, "--at-most"),
        ({"at_most": 65}, "--at-most"),
        ({"lease_s": 0.1}, "--lease"),
        ({"lease_s": 601.0}, "--lease"),
        ({"drain_s": -1.0}, "--drain"),
    ],
)
def test_wrong_ones_are_refused(changes: dict[str, Any], option: str) -> None:
    with pytest.raises(UsageError, match=option):
        worker_settings(**{"at_most": 1, "labels": (), **changes})
