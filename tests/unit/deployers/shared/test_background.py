"""Tasks beside a block: how they end with it, and which exceptions come out."""

import anyio
import pytest

from autotuner.concurrency import first_of
from autotuner.deployers.shared.background import Background

pytestmark = pytest.mark.anyio


class Task:
    """Runs until it is cancelled."""

    def __init__(self) -> None:
        self.started = anyio.Event()
        self.ended = anyio.Event()

    async def run(self) -> None:
        self.started.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.ended.set()


async def test_tasks_end_with_the_block() -> None:
    task = Task()
    async with Background() as tasks:
        tasks.start(task.run)
        await task.started.wait()
        assert not task.ended.is_set()
    assert task.ended.is_set()


async def test_a_task_that_has_not_begun_never_runs() -> None:
    task = Task()
    async with Background() as tasks:
        tasks.start(task.run)
    assert not task.started.is_set()


async def test_the_exception_of_the_block_is_not_wrapped() -> None:
    task = Task()

    async def block() -> None:
        async with Background() as tasks:
            tasks.start(task.run)
            await task.started.wait()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await block()
    assert task.ended.is_set()


async def test_tasks_outlive_a_cancellation_until_the_block_has_cleaned_up() -> None:
    task = Task()
    alive = []
    with anyio.CancelScope() as scope:
        async with Background() as tasks:
            tasks.start(task.run)
            await task.started.wait()
            scope.cancel()
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.lowlevel.checkpoint()
                    alive.append(not task.ended.is_set())
    assert scope.cancelled_caught
    assert (alive, task.ended.is_set()) == ([True], True)


async def test_a_task_that_fails_ends_the_block() -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    async def block() -> None:
        async with Background() as tasks:
            tasks.start(fails)
            await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await block()
    assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]


async def test_the_first_result_cancels_the_other_waits() -> None:
    other = Task()

    async def answer() -> str:
        await other.started.wait()
        return "done"

    async def never() -> str:
        await other.run()
        return "never"

    assert await first_of(never, answer) == "done"
    assert other.ended.is_set()


async def test_the_exception_of_a_wait_is_not_wrapped() -> None:
    async def fails() -> str:
        raise ZeroDivisionError

    async def never() -> str:
        await anyio.sleep_forever()
        return ""

    with pytest.raises(ZeroDivisionError):
        await first_of(never, fails)
