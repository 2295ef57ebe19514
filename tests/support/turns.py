"""Two servers of which the second must wait until the first has ended."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import anyio

from autotuner.plugins.deployer import BoundDeployer, Endpoint
from autotuner.study.launch import LaunchPlan
from autotuner.study.trial import Phase
from autotuner.testing.deployer_kit import LABELS, MemoryPorts, Recorder

_STILL_QUEUED_S = 3.0
"""How long the second must stay queued while the first runs."""


def another_run(folder: Path, ports: MemoryPorts | None = None) -> Recorder:
    """Returns the context of a trial with another owner, so that neither takes the other's objects for leftovers."""
    labels = LABELS.model_copy(update={"owner": f"owner-{uuid4().hex[:8]}"})
    return Recorder(folder, ports=ports, labels=labels)


async def wait_until_queued(recorder: Recorder) -> None:
    """Waits until the trial is in the phase ``queued``."""
    with anyio.fail_after(60):
        while Phase.QUEUED not in recorder.phases:  # noqa: ASYNC110 - a list has no event
            await anyio.sleep(0.05)


async def _do_nothing(_: Endpoint) -> None:
    """Default of ``meanwhile``."""


async def take_turns(
    first: tuple[BoundDeployer, Recorder],
    second: tuple[BoundDeployer, Recorder],
    plan: LaunchPlan,
    meanwhile: Callable[[Endpoint], Awaitable[None]] = _do_nothing,
) -> list[str]:
    """Starts the second server while the first runs, and runs both to their ends.

    Args:
        first: Deployer and recorder of the first server.
        second: Deployer and recorder of the second server, which must stay queued until the first has ended.
        plan: The launch plan of both.
        meanwhile: Called with the first server's endpoint while the second is queued.

    Returns:
        The notes of the second server.
    """
    waiting = second[1]
    notes = list[str]()
    context = replace(waiting.context, note=notes.append)

    async def run_second() -> None:
        async with second[0].deploy(plan, context) as endpoint:
            assert endpoint.url

    async with anyio.create_task_group() as tasks:
        async with AsyncExitStack() as stack:
            endpoint = await stack.enter_async_context(first[0].deploy(plan, first[1].context))
            tasks.start_soon(run_second)
            await wait_until_queued(waiting)
            await meanwhile(endpoint)
            await anyio.sleep(_STILL_QUEUED_S)
            assert waiting.phases[-1] is Phase.QUEUED
        with anyio.fail_after(120):
            while Phase.LOADING not in waiting.phases:  # noqa: ASYNC110 - a list has no event
                await anyio.sleep(0.05)
    assert notes[0].startswith("waiting")
    return notes
