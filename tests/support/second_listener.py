"""A second program that listens on a server's address."""

import socket

import pytest

from autotuner.plugins.deployer import Endpoint
from autotuner.study.failure import FailureCause, TrialFailedError


async def check_that_a_second_listener_changes_the_identity(endpoint: Endpoint, port: int) -> None:
    """While it listens, the endpoint's identity is unknown. The server itself must set SO_REUSEPORT."""
    await endpoint.identity()
    with socket.socket() as intruder:
        intruder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        intruder.bind(("127.0.0.1", port))
        intruder.listen()
        with pytest.raises(TrialFailedError) as caught:
            await endpoint.identity()
    assert caught.value.failure.cause is FailureCause.IDENTITY_CHANGED
    await endpoint.identity()
