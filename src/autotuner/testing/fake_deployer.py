"""A deployer double without processes: fails, becomes ready and dies on request, and counts live servers and GPUs.

For tests of the tuning loop, with a benchmark double: the endpoint does not respond to requests.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import ClassVar

import anyio
from pydantic import BaseModel, ConfigDict

from autotuner.plugins.deployer import BoundDeployer, CommandRunner, DeployContext, Endpoint
from autotuner.study.check import Check
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Gpu, GpuSample, Hardware, Identity, Labels, LaunchedObject, LaunchPlan
from autotuner.study.trial import Phase


@dataclass(frozen=True)
class Behavior:
    """The course of one launch. Times in seconds."""

    queued_s: float = 0.0
    """Time in a queue of the target before anything starts."""
    ready_after_s: float = 0.0
    fails: Failure | None = None
    """Failure instead of becoming ready."""
    dies_after_s: float | None = None
    """Time from ready to death; None to live until it is released."""
    exit_code: int = 1
    log: str = "fake log"
    argv: tuple[str, ...] | None = None
    """Replaces the plan's command line, for a value that did not reach the process."""
    environment: Mapping[str, str] | None = None
    """Replaces the plan's environment."""
    changes_identity: bool = False
    """Whether every call of ``identity`` returns another identity."""


def behave_well(_: LaunchPlan) -> Behavior:
    """Ready immediately, and alive until released."""
    return Behavior()


def fake_gpus(count: int, *, memory_gb: float = 80.0) -> list[Gpu]:
    """Idle GPUs of one kind."""
    return [Gpu(index=i, uuid=f"GPU-fake-{i}", name="Fake H100", memory_gb=memory_gb) for i in range(count)]


class NoRunner(CommandRunner):
    """Runs nothing: the benchmark is a double as well."""

    def run(self, module: str, spec: bytes, *, labels: Labels) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Raises RuntimeError."""
        raise RuntimeError("the fake deployer runs no load generator")


class FakeEndpoint(Endpoint):
    """An endpoint that follows its behavior."""

    def __init__(self, plan: LaunchPlan, context: DeployContext, behavior: Behavior, number: int, port: int) -> None:
        self._context = context
        self._behavior = behavior
        self._number = number
        self._calls = 0
        self.url = f"http://127.0.0.1:{port}"
        self.model = plan.model
        self.argv = plan.argv(host="127.0.0.1", port=port) if behavior.argv is None else behavior.argv
        self._environment = dict(plan.env if behavior.environment is None else behavior.environment)
        self.client: CommandRunner = NoRunner()
        self.killed = anyio.Event()
        self.dead = False

    async def identity(self) -> Identity:
        """The launch's number; raises once the server is dead."""
        if self.dead:
            raise TrialFailedError.because(FailureCause.IDENTITY_CHANGED, f"{self.url} has ended")
        self._calls += 1
        return Identity(kind="process", id=str(self._number), restarts=self._calls * self._behavior.changes_identity)

    async def died(self) -> Failure:
        """Waits for the behavior's end, or for :meth:`kill`."""
        wait = float("inf") if self._behavior.dies_after_s is None else self._behavior.dies_after_s
        with anyio.move_on_after(wait):
            await self.killed.wait()
        self.dead = True
        return self._context.explain(self._behavior.exit_code, self._behavior.log, True)

    async def environment(self) -> Mapping[str, str]:
        """The plan's, or the behavior's."""
        return self._environment

    @property
    def launched(self) -> LaunchedObject:
        """The server as its deployer lists it."""
        labels = self._context.labels
        return LaunchedObject(kind="server", name=str(self._number), **labels.model_dump())

    def kill(self) -> None:
        """Ends the server as if from outside."""
        self.dead = True
        self.killed.set()

    async def log_tail(self, lines: int = 40) -> str:
        """The behavior's log."""
        return "\n".join(self._behavior.log.splitlines()[-lines:])

    def pids(self) -> frozenset[int]:
        """None: there is no process."""
        return frozenset()


class FakeSettings(BaseModel):
    """Settings of the double."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass
class _Log:
    deployed: list[tuple[Labels, LaunchPlan]] = field(default_factory=list)
    released: list[Labels] = field(default_factory=list)
    live: list[FakeEndpoint] = field(default_factory=list)
    most_live: int = 0
    leased: list[tuple[Labels, tuple[Gpu, ...]]] = field(default_factory=list)
    busy: set[str] = field(default_factory=set)


class FakeDeployer(BoundDeployer):
    """Simulates deployments that follow ``behavior``.

    ``deployed``, ``leased``, ``released``, ``live`` and ``most_live`` record what happened. ``machine_gpus`` are the
    current GPUs and may be changed; ``sensors`` reads one GPU, None means that there are no sensors.

    Raises:
        AssertionError: More than ``max_live`` servers are live at once, or two of them have the same GPU.
    """

    kind: ClassVar[str] = "fake"
    Settings: ClassVar[type[BaseModel]] = FakeSettings

    def __init__(
        self,
        settings: BaseModel | None = None,
        *,
        behavior: Callable[[LaunchPlan], Behavior] = behave_well,
        max_live: int | None = None,
        machine: Hardware | None = None,
        gpus: Sequence[Gpu] = (),
        sensors: Callable[[Gpu], GpuSample] | None = None,
    ) -> None:
        super().__init__(settings or FakeSettings())
        self._behavior = behavior
        self._max_live = max_live
        smallest = min((gpu.memory_gb for gpu in gpus), default=0.0)
        self._machine = machine or Hardware(cpus=2, memory_gb=8.0, gpus=len(gpus), gpu_memory_gb=smallest)
        self.machine_gpus = list(gpus)
        self._sensors = sensors
        self._log = _Log()
        self.ports = range(24000, 25000)

    @property
    def deployed(self) -> list[tuple[Labels, LaunchPlan]]:
        """Every launch so far, including failed ones."""
        return self._log.deployed

    @property
    def leased(self) -> list[tuple[Labels, tuple[Gpu, ...]]]:
        """The GPUs of every launch so far."""
        return self._log.leased

    @property
    def released(self) -> list[Labels]:
        """Every launch that was cleaned up."""
        return self._log.released

    @property
    def live(self) -> list[FakeEndpoint]:
        """Endpoints that are ready now."""
        return self._log.live

    @property
    def most_live(self) -> int:
        """The largest number of endpoints that were live at once."""
        return self._log.most_live

    @asynccontextmanager
    async def deploy(self, plan: LaunchPlan, context: DeployContext) -> AsyncIterator[Endpoint]:
        """See :meth:`BoundDeployer.deploy`; the endpoint follows the behavior."""
        async with context.lease_port(self.ports) as port:
            context.on_phase(Phase.LAUNCHING)
            self.deployed.append((context.labels, plan))
            ours = self._occupied(context)
            behavior = self._behavior(plan)
            endpoint = FakeEndpoint(plan, context, behavior, len(self.deployed), port)
            try:
                if behavior.queued_s:
                    context.on_phase(Phase.QUEUED)
                    await anyio.sleep(behavior.queued_s)
                context.on_phase(Phase.LOADING)
                await anyio.sleep(behavior.ready_after_s)
                if behavior.fails:
                    raise TrialFailedError(behavior.fails)
                self.live.append(endpoint)
                self._log.most_live = max(self._log.most_live, len(self.live))
                if self._max_live is not None and len(self.live) > self._max_live:
                    raise AssertionError(f"{len(self.live)} servers are live; the limit is {self._max_live}")
                yield endpoint
            finally:
                if endpoint in self.live:
                    self.live.remove(endpoint)
                self._log.busy -= ours
                self.released.append(context.labels)

    def _occupied(self, context: DeployContext) -> set[str]:
        self.leased.append((context.labels, context.gpus))
        ours = {gpu.uuid for gpu in context.gpus}
        if shared := ours & self._log.busy:
            raise AssertionError(f"{sorted(shared)} belong to two launches at once")
        self._log.busy |= ours
        return ours

    async def preflight(self, plans: Iterable[LaunchPlan]) -> list[Check]:
        """Passes."""
        return [Check.ok("fake", f"{len(list(plans))} plans")]

    async def hardware(self) -> Hardware:
        """The hardware given to the constructor."""
        return self._machine

    async def gpus(self) -> Sequence[Gpu]:
        """The current GPUs."""
        return list(self.machine_gpus)

    async def gpu_samples(self, gpus: Sequence[Gpu]) -> Sequence[GpuSample]:
        """Current samples from ``sensors``."""
        if self._sensors is None:
            return ()
        return [self._sensors(gpu).model_copy(update={"at": time.time(), "index": gpu.index}) for gpu in gpus]

    async def reap(self, is_dead: Callable[[str], bool], *, study: str | None = None) -> list[str]:
        """Nothing is ever left behind."""
        return []

    async def launched_objects(self) -> Sequence[LaunchedObject]:
        """The servers that are ready now."""
        return [endpoint.launched for endpoint in self.live]
