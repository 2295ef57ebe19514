"""Servers that outlive their trial, so that the next trial changes flags of a running server instead of launching one.

Only for flags that the engine can change at run time (:attr:`Engine.runtime_flags`). A server that is held has a task
of its own, because the trial that launched it ends first.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import anyio
from anyio.abc import TaskGroup

from autotuner.plugins.deployer import Endpoint
from autotuner.plugins.engine import Engine
from autotuner.study.base import Value
from autotuner.study.failure import TrialFailedError
from autotuner.study.launch import Flag, Gpu, Identity, LaunchPlan
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.trials.server_change import change_server

Lease = Callable[[], AbstractAsyncContextManager[tuple[Gpu, ...]]]
Launch = Callable[[tuple[Gpu, ...]], AbstractAsyncContextManager[Endpoint]]


@dataclass
class Place:
    """GPUs for one trial, and the server that it measures on them."""

    gpus: tuple[Gpu, ...]
    server: Callable[[], AbstractAsyncContextManager[Endpoint]]
    """A context in which the server runs, launched on entering unless it runs already."""
    server_of: int | None = None
    """Number of the trial that launched it, if that was an earlier one."""
    reusable: bool = False
    """Whether the server may stay for the next trial. Set once the trial has ended well."""


class HeldServer:
    """A server and its GPUs, held by a task of its own from the lease to the release.

    Args:
        trial: Number of the trial that launches it.
        engine: What it runs.
        plan: How it is launched. Afterwards, what it is by all changes.
    """

    def __init__(self, trial: int, engine: Prepared, plan: LaunchPlan) -> None:
        self.trial = trial
        self.engine = engine
        self.plan = plan
        self.gpus: tuple[Gpu, ...] = ()
        self.endpoint: Endpoint | None = None
        self.identity: Identity | None = None
        """The server that the last trial measured."""
        self._scope = anyio.CancelScope()
        self._leased = anyio.Event()
        self._wanted = anyio.Event()
        self._ready = anyio.Event()
        self._over = anyio.Event()
        self._ended = anyio.Event()
        self._error: Exception | None = None

    async def run(self, lease: Lease, launch: Launch) -> None:
        """Leases at once, launches on the first :meth:`server`, and holds both until :meth:`release`."""
        try:
            with self._scope:
                async with lease() as self.gpus:
                    self._leased.set()
                    await self._wanted.wait()
                    if self._over.is_set():
                        return
                    async with launch(self.gpus) as self.endpoint:
                        self._ready.set()
                        await self._over.wait()
        except Exception as error:
            self._error = error
        finally:
            for event in (self._ended, self._leased, self._ready):
                event.set()

    async def leased(self) -> tuple[Gpu, ...]:
        """Its GPUs, once it has them. Raises ``TrialFailedError`` if it gets none."""
        await self._leased.wait()
        self._raise()
        return self.gpus

    @asynccontextmanager
    async def server(self) -> AsyncIterator[Endpoint]:
        """The server, once it is ready. Raises ``TrialFailedError`` if it does not become ready. Leaving the context
        leaves it running."""
        self._wanted.set()
        await self._ready.wait()
        self._raise()
        assert self.endpoint is not None  # noqa: S101 - ready without an error
        yield self.endpoint

    async def answers(self) -> bool:
        """Whether the server still answers, as the one that it is from now on."""
        try:
            self.identity = await self.endpoint.identity() if self.endpoint is not None else None
        except TrialFailedError:
            return False
        return self.identity is not None

    @asynccontextmanager
    async def released_on_error(self) -> AsyncIterator[None]:
        """Releases the server if the trial fails or is cancelled inside this context."""
        try:
            yield
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.release(cancel=True)
            raise

    async def release(self, *, cancel: bool = False) -> None:
        """Ends the server and releases its GPUs.

        Args:
            cancel: Whether a launch is cancelled that may still be under way.

        Raises:
            Exception: What went wrong meanwhile.
        """
        self._over.set()
        self._wanted.set()
        if cancel:
            self._scope.cancel()
        await self._ended.wait()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error


@asynccontextmanager
async def place_of_its_own(lease: Lease, launch: Launch) -> AsyncIterator[Place]:
    """GPUs and a server that end with the trial."""
    async with lease() as gpus:
        yield Place(gpus, partial(launch, gpus))


class HeldServers:
    """The servers of one run that wait for a trial that needs other values of flags that they can change.

    A server waits only while the next trial is chosen; one that the trial cannot use is ended before the launch,
    since it holds GPUs.

    Args:
        tasks: Runs the servers' tasks.
        note: Called with the number of a trial and a notice about it.
    """

    def __init__(self, tasks: TaskGroup, note: Callable[[int, str], None]) -> None:
        self._tasks = tasks
        self._note = note
        self._waiting: list[HeldServer] = []

    @asynccontextmanager
    async def place(
        self,
        trial: int,
        engine: Prepared,
        plan: LaunchPlan,
        lease: Lease,
        launch: Launch,
        *,
        on_change: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[Place]:
        """GPUs and a server for one trial: a waiting one with its flags changed, or else a new one.

        Args:
            trial: Number of the trial.
            engine: What its server runs.
            plan: Its server.
            lease: Leases GPUs for a new server.
            launch: Launches a new server.
            on_change: Called before a waiting server is changed.
        """
        held = await self._changed(trial, engine, plan, on_change)
        if held is None and not plan.tuned.keys() & engine.engine.runtime_flags:
            async with place_of_its_own(lease, launch) as own:
                yield own
            return
        if held is None:
            held = HeldServer(trial, engine, plan)
            self._tasks.start_soon(held.run, lease, launch)
        async with held.released_on_error():
            other = held.trial if held.trial != trial else None
            place = Place(await held.leased(), held.server, server_of=other)
            yield place
            stays = place.reusable and await held.answers()
        if stays:
            self._waiting.append(held)
        else:
            await held.release()

    async def end(self) -> None:
        """Ends all servers that wait."""
        while self._waiting:
            await self._waiting.pop().release()

    async def _changed(
        self, trial: int, engine: Prepared, plan: LaunchPlan, on_change: Callable[[], None]
    ) -> HeldServer | None:
        """The waiting server after the change of its flags; None, and none waits any more, if there is none for it."""
        possible = ((h, changes(engine.engine, h.plan, plan)) for h in self._waiting if h.engine is engine)
        found, flags = next(((h, flags) for h, flags in possible if flags), (None, {}))
        if found is not None:
            self._waiting.remove(found)
            on_change()
            async with found.released_on_error():
                why = await _change(found, plan, flags)
            if not why:
                return found
            self._note(trial, f"launched anew, because the server of trial {found.trial} was not changed: {why}")
            await found.release()
        await self.end()
        return None


async def _change(held: HeldServer, plan: LaunchPlan, flags: Mapping[str, Value]) -> str:
    """Makes the waiting server the planned one. Returns why that failed; empty if it did not."""
    endpoint = held.endpoint
    assert endpoint is not None  # noqa: S101 - it has been measured
    engine = held.engine.engine
    try:
        if await endpoint.identity() != held.identity:
            return "another server answers at its address"
    except TrialFailedError as error:
        return error.failure.message
    if why := await change_server(endpoint, engine, flags):
        return why
    endpoint.argv = _rewritten(endpoint.argv, engine, held.plan, plan, flags)
    endpoint.command = _rewritten(endpoint.command, engine, held.plan, plan, flags)
    held.plan = plan
    held.identity = None
    return ""


def _rewritten(
    argv: tuple[str, ...], engine: Engine, before: LaunchPlan, after: LaunchPlan, flags: Mapping[str, Value]
) -> tuple[str, ...]:
    """The command line with the new values of the flags that were changed, each at its place."""
    if not argv:
        return argv
    for name, value in flags.items():
        old, new = (
            tuple(a for flag in plan.flags if _name(engine, flag) == name for a in flag.argv())
            for plan in (before, after)
        )
        at = next((i for i in range(len(argv)) if argv[i : i + len(old)] == old), None)
        argv = engine.override(argv, {name: value}) if at is None else (*argv[:at], *new, *argv[at + len(old) :])
    return argv


def changes(engine: Engine, running: LaunchPlan, wanted: LaunchPlan) -> Mapping[str, Value]:
    """The flags whose change makes the running server the wanted one; empty if no change does.

    Args:
        engine: What both run.
        running: The running server.
        wanted: The server to launch otherwise.
    """

    def rest(plan: LaunchPlan) -> LaunchPlan:
        fixed = tuple(f for f in plan.flags if _name(engine, f) not in engine.runtime_flags)
        tuned = {n: v for n, v in plan.tuned.items() if n not in engine.runtime_flags}
        return plan.model_copy(update={"flags": fixed, "tuned": tuned})

    if rest(running) != rest(wanted):
        return {}
    values = {name: (running.tuned.get(name), wanted.tuned.get(name)) for name in engine.runtime_flags}
    found = {name: after for name, (before, after) in values.items() if before != after}
    # A flag that one of them leaves out has the engine's default there, which may not be known.
    return {} if any(None in values[name] for name in found) else found


def _name(engine: Engine, flag: Flag) -> str:
    """A flag's canonical name, also of one that is joined to its value by ``=``."""
    return engine.canonical(flag.name.partition("=")[0])
