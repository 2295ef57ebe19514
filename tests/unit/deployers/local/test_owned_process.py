"""Replies of a supervisor as its runner reads them. The supervisor itself is tested with real processes."""

import os
import subprocess
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest

from autotuner.deployers.local.owned_process import LogNotWrittenError, OwnedProcess

pytestmark = pytest.mark.anyio

Make = Callable[[bytes], OwnedProcess]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes a process whose supervisor has sent these replies; it ignores orders until it is killed."""
    made = []

    def process(replies: bytes) -> OwnedProcess:
        orders, ordering = os.pipe()
        answers, answering = os.pipe()
        supervisor = subprocess.Popen(["sleep", "60"])
        os.write(answering, replies)
        found = OwnedProcess(supervisor, ordering, answers, {"TEST_MARK": uuid4().hex})
        made.append((found, supervisor, orders, answering))
        return found

    yield process
    for found, supervisor, *ends in made:
        supervisor.kill()
        await found.stop(0)
        for end in ends:
            os.close(end)


async def test_a_child_that_ends_at_once_has_started(make: Make) -> None:
    """On a busy machine, both replies are read together."""
    process = make(b"started %d\nexited 1\n" % os.getpid())
    await process.begun()
    assert process.pid == os.getpid()
    assert process.exit_code() == 1


async def test_a_log_that_cannot_be_written_any_more_does_not_undo_the_start(make: Make) -> None:
    process = make(b"started %d\nlog 28\n" % os.getpid())
    await process.begun()
    with pytest.raises(LogNotWrittenError, match="No space left"):
        await process.exited()


@pytest.mark.parametrize(
    ("reply", "error"), [(b"failed 2\n", FileNotFoundError), (b"unwritable 13\n", LogNotWrittenError)]
)
async def test_what_prevents_a_start_is_raised(make: Make, reply: bytes, error: type[OSError]) -> None:
    with pytest.raises(error):
        await make(reply).begun()
