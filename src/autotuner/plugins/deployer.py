"""Interfaces of where a server runs: it is started, watched, and always removed."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel

from autotuner.net.target import DIRECT, Access
from autotuner.plugins.engine import Engine
from autotuner.study.base import Value
from autotuner.study.check import Check
from autotuner.study.failure import Failure
from autotuner.study.launch import Gpu, GpuSample, Hardware, Identity, Labels, LaunchPlan
from autotuner.study.spec import Model
from autotuner.study.trial import Phase

ExplainEnd = Callable[[int | None, str, bool], Failure]
"""(exit code, log tail, was ready) -> cause. Given by the trial runner, which knows the engine. Some hundred lines of
the log are wanted: the cause may stand far above its end."""

LeasePort = Callable[[range], AbstractAsyncContextManager[int]]
"""Leases one port of a range for this trial, host-wide among all runs; raises ``TrialFailedError`` with
``port_unavailable`` when the range is used up."""


@dataclass(frozen=True)
class DeployContext:
    """What a trial hands to a deployer."""

    labels: Labels
    folder: Path
    """The trial's own folder; the server's log goes to ``server.log`` in it."""
    explain: ExplainEnd
    on_phase: Callable[[Phase], None]
    """Called with ``launching`` and ``loading``; between these with ``accepted`` and ``scheduled`` where an operator
    and a scheduler do that, ``queued`` while a node is waited for, and ``pulling`` while an image is fetched."""
    lease_port: LeasePort
    gpus: tuple[Gpu, ...] = ()
    """The GPUs leased to this trial."""
    note: Callable[[str], None] = lambda _: None
    """One line for whoever watches the study."""


class CommandRunner(ABC):
    """Where the load comes from: a child process here, a Job in a cluster. Same worker everywhere."""

    caveats: tuple[str, ...] = ()
    """What this way to the server does to the figures, one line each; kept as warnings of each measurement."""

    @abstractmethod
    def run(self, module: str, spec: bytes, *, labels: Labels) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Runs ``python -m module`` near the endpoint with ``spec`` on stdin and yields its stdout line by line.

        Leaving the block ends the worker on every path. The iterator raises ``TrialFailedError``
        (``benchmark_failed``, stderr's tail as evidence) when the worker exits with another code than 0.
        """


@dataclass(frozen=True)
class PlatformRun:
    """One run of the benchmark that a platform brings along: one scenario at one number of users."""

    scenario: str
    """As in a study file, e.g. ``D(100,100)``."""
    in_flight: int
    minutes: int
    """Longest time; these benchmarks know whole minutes only."""
    requests: int
    labels: Labels
    settings: Mapping[str, Any]
    """The benchmark's section of the study file, whose keys are the platform's."""
    on_running: Callable[[], None] = lambda: None
    """Called when its program has started."""


class PlatformBenchmark(ABC):
    """A benchmark that the platform runs by its own operator, near the server."""

    @abstractmethod
    async def preflight(self, settings: Mapping[str, Any]) -> list[Check]:
        """What must be well before the first run."""

    @abstractmethod
    async def run(self, endpoint: "Endpoint", run: PlatformRun) -> Mapping[str, bytes]:
        """The result files of one run by name, all of them whole. Leaves nothing on the platform, on every path.

        Raises ``TrialFailedError`` (``benchmark_failed``) when it did not end well, with the end of its log.
        """


class Endpoint(ABC):
    """A server of ours that answers."""

    url: str
    """Base URL without a trailing slash and without ``/v1``."""
    model: str
    argv: tuple[str, ...]
    """As the running process, container or pod really has it."""
    client: CommandRunner
    command: tuple[str, ...] = ()
    """What a person types to start this server in the same way; empty where ``argv`` is that already."""

    access: Access = DIRECT
    """How requests get to ``url``: what stands behind and in front of it where the server is not ours."""
    info_url: str = ""
    """Base URL for the server's own information, where that is read by another way than the load takes."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Credentials that requests need; read when needed, never kept, logged or stored."""
        return {}

    @abstractmethod
    async def identity(self) -> Identity:
        """Which server answers now. Raises ``TrialFailedError`` (``identity_changed``) when ``url`` is served by
        something that we did not start."""

    async def facts(self) -> Mapping[str, str]:
        """What only the running server tells of what it is made of, e.g. ``{"image": "sha256:..."}``; a study measures
        one state of it."""
        return {}

    @abstractmethod
    async def died(self) -> Failure:
        """Waits until the server ends by itself and returns why; noticed in under 100 ms. Cancelled otherwise."""

    @abstractmethod
    async def log_tail(self, lines: int = 40) -> str:
        """The log's last lines."""

    async def environment(self) -> Mapping[str, str] | None:
        """The variables that the running process, container or pod was started with, those of an image left out; None
        where they cannot be seen. Holds secrets: to be looked into by name, and never kept, logged or stored."""
        return None

    @abstractmethod
    def pids(self) -> frozenset[int]:
        """Process ids of the server on this host, empty where they are unknown (to tell its CPU from others')."""


@dataclass(frozen=True)
class BaseArguments:
    """Flags that the target's own command line has, as a cluster's runtime does; the study's take precedence."""

    args: Mapping[str, Value]
    """By the engine's canonical names."""
    version: str
    """Where they come from, as a text that differs once they were changed: trials before and after that cannot be
    compared."""


class Deployer(ABC):
    """Where servers can run, known by its settings alone. Constructed with ``Deployer(settings)``.

    What only some can do are types of their own: :class:`HasBaseArguments`, :class:`HasHubCache`,
    :class:`HasPlatformBenchmark`, :class:`ReadsGpuSensors`, :class:`ShowsCommand`.
    """

    kind: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]
    launches: ClassVar[bool] = True
    """False where the server already runs (``external``), so that nothing can be tuned."""
    here: ClassVar[bool] = False
    """Whether servers run on this machine, from its files: these are then watched for changes."""

    def __init__(self, settings: BaseModel) -> None:
        self.settings = settings

    @abstractmethod
    def bind(self, engine: Engine, model: Model) -> "BoundDeployer":
        """This deployer for one engine's servers of one model, as the study file names it. Asks nothing yet."""

    @abstractmethod
    async def preflight(self, plans: Iterable[LaunchPlan]) -> list[Check]:
        """What must be in order before the first trial of these plans; without any, the target alone is checked.

        Starts and changes nothing.
        """

    @abstractmethod
    async def hardware(self) -> Hardware:
        """What the target has."""

    async def gpus(self) -> Sequence[Gpu]:
        """The target's GPUs as they are now, other users included; at least as many as :meth:`hardware` counts, which
        is what one server can have."""
        return ()

    async def facts(self, plan: LaunchPlan) -> Mapping[str, str]:
        """What else on the target a study's numbers depend on, by name, e.g. ``{"image": "sha256:..."}``.

        Trials before and after a change cannot be compared. Asked around each launch, so it has to be quick. What
        cannot be known at the moment is left out.
        """
        return {}

    async def locate(self, model: Model) -> Model:
        """The model as servers on this target find it, as far as the settings tell: a deployer that keeps models under
        roots of its own turns a bare name into a path. Raises ``UsageError`` where it may not be used."""
        return model

    def image(self, plan: LaunchPlan) -> str | None:
        """The container image that a plan runs in; None where no image is needed."""
        return None

    @abstractmethod
    async def reap(self, is_dead: Callable[[str], bool], *, study: str | None = None) -> list[str]:
        """Removes what owners left behind for whom ``is_dead(owner id)``; returns one line per removed thing."""


class BoundDeployer(Deployer):
    """A deployer for one engine and one model, which launches their servers.

    Where servers of all engines and models are launched in the same way, a deployer is its own bound form: it inherits
    from this class, and :meth:`bind` returns itself.
    """

    def bind(self, engine: Engine, model: Model) -> "BoundDeployer":
        """Itself, unless engine or model matter."""
        return self

    @abstractmethod
    def deploy(self, plan: LaunchPlan, context: DeployContext) -> AbstractAsyncContextManager[Endpoint]:
        """Launches the plan; entering returns when the server is ready, or raises ``TrialFailedError``.

        Leaving removes everything on every path, shielded from cancellation.
        """


@runtime_checkable
class HasBaseArguments(Protocol):
    """A bound deployer whose target has a command line of its own."""

    async def base_arguments(self) -> BaseArguments:
        """The target's flags. Raises :class:`AutotunerError` where they cannot be read."""

    def built_over(self, base: BaseArguments) -> BoundDeployer:
        """This deployer for plans whose flags include the base arguments, so that one which a plan lacks is removed
        from the target's command line."""


@runtime_checkable
class HasPlatformBenchmark(Protocol):
    """A deployer whose target brings a benchmark along."""

    @property
    def platform_benchmark(self) -> PlatformBenchmark:
        """The benchmark."""


@runtime_checkable
class HasHubCache(Protocol):
    """A deployer that gives servers a cache of Hub models of its own choice, on this machine."""

    @property
    def hub_cache(self) -> Path:
        """Folder with one folder per model (``models--ORG--NAME``)."""


@runtime_checkable
class ReadsGpuSensors(Protocol):
    """A deployer that can read the sensors of its GPUs."""

    async def gpu_samples(self, gpus: Sequence[Gpu]) -> Sequence[GpuSample]:
        """The sensors of these GPUs now; empty where they cannot be read."""


@runtime_checkable
class ShowsCommand(Protocol):
    """A deployer whose servers a person starts by another command line than the plan's."""

    async def command(self, plan: LaunchPlan) -> tuple[str, ...]:
        """What a person would type to start a plan's server as this deployer does. Starts nothing."""
