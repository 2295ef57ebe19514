"""Tasks beside a block of code."""

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

import anyio


class Background:
    """A task group for what a block needs to its very end, clean-up included.

    It differs from a plain task group in two ways. A cancellation from outside reaches the block first, and the tasks
    end with the block: to remove a pod, its watch must still run. And the block's own exception stays as it is, where a
    plain group would wrap it into an ``ExceptionGroup``, and callers could not catch a ``TrialFailedError``.

    A task that fails by itself cancels the block, as in any task group.
    """

    def __init__(self) -> None:
        self._tasks = anyio.create_task_group()
        self._scopes: list[anyio.CancelScope] = []
        self._over = False

    def start(self, work: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Runs ``work`` until the block ends."""
        self._tasks.start_soon(self._run, work, args)

    async def _run(self, work: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...]) -> None:
        with anyio.CancelScope(shield=True) as scope:
            if not self._over:
                self._scopes.append(scope)
                await work(*args)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._over = True
        for scope in self._scopes:
            scope.cancel()
        if isinstance(error, anyio.get_cancelled_exc_class()):
            # The group must see a cancellation, to tell its own (a task has failed) from one from outside.
            return await self._tasks.__aexit__(kind, error, trace)
        await self._tasks.__aexit__(None, None, None)
        return None
