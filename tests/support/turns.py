"""Two servers of which the second must wait for the first's end, whatever holds it back."""

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

_LONGER_S = 3.0


def another_run(folder: Path, ports: MemoryPorts | None = None) -> Recorder:
    """The context of a trial of another run: what that run holds is nothing that this one has left behind."""
    labels = LABELS.model_copy(update={"owner": f"owner-{uuid4().hex[:8]}"})
    return Recorder(folder, ports=ports, labels=labels)


async def waits(recorder: Recorder) -> None:
    """Returns when it has been told that it waits."""
    with anyio.fail_after(60):
        while Phase.QUEUED not in recorder.phases:  # noqa: ASYNC110 - a list tells no news
            await anyio.sleep(0.05)


async def _alone(_: Endpoint) -> None:
    """Nothing is done meanwhile."""


async def take_turns(
    first: tuple[BoundDeployer, Recorder],
    second: tuple[BoundDeployer, Recorder],
    plan: LaunchPlan,
    meanwhile: Callable[[Endpoint], Awaitable[None]] = _alone,
) -> list[str]:
    """Runs both to their ends, the second begun beside the first, and returns the second's notes."""
    waiting = second[1]
    notes = list[str]()
    context = replace(waiting.context, note=notes.append)

    async def after() -> None:
        async with second[0].deploy(plan, context) as endpoint:
            assert endpoint.url

    async with anyio.create_task_group() as tasks:
        async with AsyncExitStack() as stack:
            endpoint = await stack.enter_async_context(first[0].deploy(plan, first[1].context))
            tasks.start_soon(after)
            await waits(waiting)
            await meanwhile(endpoint)
            await anyio.sleep(_LONGER_S)
            assert waiting.phases[-1] is Phase.QUEUED
        with anyio.fail_after(120):
            while Phase.LOADING not in waiting.phases:  # noqa: ASYNC110 - a list tells no news
                await anyio.sleep(0.05)
    assert notes[0].startswith("waiting")
    return notes
