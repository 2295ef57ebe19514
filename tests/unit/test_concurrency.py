"""``first_of``: one result or one plain exception, and no function left running. ``run_program``: no process left."""

import gc
import sys

import anyio
import psutil
import pytest

from autotuner.concurrency import first_of, run_program

pytestmark = pytest.mark.anyio


class Work:
    """Ends with its own name, raises, or waits until it is cancelled."""

    def __init__(self, name: str, *, error: Exception | None = None, waits: bool = False) -> None:
        self.name = name
        self.error = error
        self.waits = waits
        self.cancelled = False

    async def __call__(self) -> str:
        if self.waits:
            try:
                await anyio.sleep_forever()
            finally:
                self.cancelled = True
                if self.error is not None:
                    raise self.error
        await anyio.wait_all_tasks_blocked()  # until the others have started
        if self.error is not None:
            raise self.error
        return self.name


async def test_the_first_result_counts_and_the_others_are_cancelled() -> None:
    slow = [Work("a", waits=True), Work("b", waits=True)]
    assert await first_of(slow[0], Work("c"), slow[1]) == "c"
    assert [work.cancelled for work in slow] == [True, True]


async def test_an_exception_is_not_wrapped_in_a_group() -> None:
    slow = Work("a", waits=True)
    with pytest.raises(ValueError, match=r"^broken$"):
        await first_of(slow, Work("b", error=ValueError("broken")))
    assert slow.cancelled


async def test_a_failed_cleanup_is_an_error() -> None:
    with pytest.raises(OSError, match="disk"):
        await first_of(Work("a"), Work("b", waits=True, error=OSError("disk")))


async def test_a_result_can_outrank_an_exception() -> None:
    late = Work("b", waits=True, error=OSError("disk"))
    assert await first_of(Work("a"), late, result_outranks_error=True) == "a"
    with pytest.raises(OSError, match="disk"):
        await first_of(Work("c", error=OSError("disk")), result_outranks_error=True)


async def test_the_first_exception_outranks_one_of_a_cleanup() -> None:
    first = Work("a", error=ValueError("cause"))
    with pytest.raises(ValueError, match="cause"):
        await first_of(first, Work("b", waits=True, error=OSError("consequence")))


async def test_cancelling_the_caller_cancels_all() -> None:
    works = [Work("a", waits=True), Work("b", waits=True)]
    with anyio.move_on_after(0.01) as scope:
        await first_of(*works)
    assert scope.cancelled_caught
    assert [work.cancelled for work in works] == [True, True]


async def test_a_program_runs_to_its_end() -> None:
    code = (
        "import sys; print('a'); print('b', file=sys.stderr, flush=True); print(input()) if sys.argv[1:] else exit(3)"
    )
    done, output = await run_program([sys.executable, "-c", code])
    assert (done, sorted(output.split())) == (3, ["a", "b"])
    failed, output = await run_program([sys.executable, "-c", code, "reads"])
    assert (failed, "EOFError" in output) == (1, True)


@pytest.mark.parametrize("steps", range(8))
def test_a_program_is_ended_whenever_it_is_cancelled(steps: int) -> None:
    async def cancelled() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_program, [sys.executable, "-c", "import time; time.sleep(600)"])
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()

    before = set(psutil.Process().children())
    anyio.run(cancelled)
    assert set(psutil.Process().children()) <= before
    gc.collect()  # pytest fails for pipes that were left open, and for a process that nobody waited for
