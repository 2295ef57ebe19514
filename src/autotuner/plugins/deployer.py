"""Interfaces of deployers, which start a server on a target, watch it and always remove it."""

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
from autotuner.study.launch import Gpu, GpuSample, Hardware, Identity, Labels, LaunchedObject, LaunchPlan
from autotuner.study.spec import Model
from autotuner.study.trial import Phase

ExplainEnd = Callable[[int | None, str, bool], Failure]
"""(exit code, end of the log, whether the server was ready) -> failure.

Comes from the trial runner, which knows the engine. It needs several hundred lines of the log, because the cause may
stand far above the end.
"""

LeasePort = Callable[[range], AbstractAsyncContextManager[int]]
"""Leases one port of a range for this trial, among all runs on this host. Raises ``TrialFailedError``
(``port_unavailable``) if none is free."""


@dataclass(frozen=True)
class DeployContext:
    """What a deployer needs to know about the trial."""

    labels: Labels
    folder: Path
    """The trial's folder; the server's log is written to ``server.log`` in it."""
    explain: ExplainEnd
    on_phase: Callable[[Phase], None]
    """Called with ``launching`` and ``loading``; between them with ``accepted`` and ``scheduled`` if an operator and a
    scheduler are involved, ``queued`` while waiting for a node, and ``pulling`` while an image is pulled."""
    lease_port: LeasePort
    gpus: tuple[Gpu, ...] = ()
    """The GPUs leased to this trial."""
    note: Callable[[str], None] = lambda _: None
    """Adds a notice of one line to the study's events."""


class CommandRunner(ABC):
    """Runs the load generator's worker: as a child process on this machine or as a Job in a cluster."""

    caveats: tuple[str, ...] = ()
    """How this path to the server affects the figures, one line each; stored as warnings of each measurement."""

    @abstractmethod
    def run(self, module: str, spec: bytes, *, labels: Labels) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Runs ``python -m module`` near the endpoint with ``spec`` on stdin and yields its stdout line by line.

        Leaving the context ends the worker on every path.

        Raises:
            TrialFailedError: From the iterator, with cause ``benchmark_failed`` and the end of stderr, if the worker
                exits with a code other than 0.
        """


@dataclass(frozen=True)
class PlatformRun:
    """One run of a platform's own benchmark: one scenario at one concurrency."""

    scenario: str
    """Written as in a study file, e.g. ``D(100,100)``."""
    in_flight: int
    minutes: int
    """Time limit. These benchmarks only take whole minutes."""
    requests: int
    """Requests after which the run ends."""
    labels: Labels
    settings: Mapping[str, Any]
    """The benchmark's section of the study file, with the platform's keys."""
    on_running: Callable[[], None] = lambda: None
    """Called when the benchmark's program has started."""


class PlatformBenchmark(ABC):
    """A benchmark that the platform's operator runs near the server."""

    @abstractmethod
    async def preflight(self, settings: Mapping[str, Any]) -> list[Check]:
        """Checks before the first run."""

    @abstractmethod
    async def run(self, endpoint: "Endpoint", run: PlatformRun) -> Mapping[str, bytes]:
        """Runs the benchmark once and leaves nothing on the platform, on every path.

        Returns:
            The complete result files by name.

        Raises:
            TrialFailedError: With cause ``benchmark_failed`` and the end of its log, if it failed.
        """


class Endpoint(ABC):
    """A server that is ready."""

    url: str
    """Base URL without a trailing slash and without ``/v1``."""
    model: str
    argv: tuple[str, ...]
    """Command line of the running process, container or pod, read from it."""
    client: CommandRunner
    command: tuple[str, ...] = ()
    """Command that starts this server in the same way; empty if ``argv`` is that command."""

    access: Access = DIRECT
    """How requests reach ``url``: API path, query, certificates and proxy of a server that is not ours."""
    info_url: str = ""
    """Base URL for the server's information endpoints, if it differs from the one for the load."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Credentials for requests. Read on each access; must not be kept, logged or stored."""
        return {}

    @abstractmethod
    async def identity(self) -> Identity:
        """The server that answers now.

        Raises:
            TrialFailedError: With cause ``identity_changed``, if something else answers at ``url``.
        """

    async def facts(self) -> Mapping[str, str]:
        """Facts that only the running server reveals, such as ``{"image": "sha256:..."}``.

        All trials of a study must have the same facts.
        """
        return {}

    @abstractmethod
    async def died(self) -> Failure:
        """Waits until the server ends by itself and returns why. Notices it within 100 ms."""

    @abstractmethod
    async def log_tail(self, lines: int = 40) -> str:
        """The last lines of the server's log."""

    async def environment(self) -> Mapping[str, str] | None:
        """The variables that the running process, container or pod was started with, without those of its image.

        Returns:
            Variables by name, or None if they cannot be read. They include secrets: look them up by name; do not keep,
            log or store them.
        """
        return None

    @abstractmethod
    def pids(self) -> frozenset[int]:
        """Process ids of the server on this host, to separate its CPU time from others'; empty if they are unknown."""


@dataclass(frozen=True)
class BaseArguments:
    """Flags of the target's own command line, such as that of a cluster's runtime. The study's take precedence."""

    args: Mapping[str, Value]
    """Values by the engine's canonical names."""
    version: str
    """Identifies their state: it differs after a change, and trials before and after cannot be compared."""


class Deployer(ABC):
    """A target for servers, constructed with ``Deployer(settings)``.

    Optional abilities are separate types: :class:`HasBaseArguments`, :class:`HasHubCache`,
    :class:`HasPlatformBenchmark`, :class:`ReadsGpuSensors`, :class:`ShowsCommand`.
    """

    kind: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]
    launches: ClassVar[bool] = True
    """False if the server already runs (``external``), so that nothing can be tuned."""
    here: ClassVar[bool] = False
    """Whether servers run on this machine from its files, which are then watched for changes."""

    def __init__(self, settings: BaseModel) -> None:
        self.settings = settings

    @abstractmethod
    def bind(self, engine: Engine, model: Model) -> "BoundDeployer":
        """This deployer for the servers of one engine and one model, as the study file names it. Without I/O."""

    @abstractmethod
    async def preflight(self, plans: Iterable[LaunchPlan]) -> list[Check]:
        """Checks before the first trial. Read-only.

        Args:
            plans: Launches to check the target for; if empty, only the target itself is checked.
        """

    @abstractmethod
    async def hardware(self) -> Hardware:
        """The target's hardware."""

    async def gpus(self) -> Sequence[Gpu]:
        """The target's GPUs and their users now.

        At least as many as :meth:`hardware` counts, which is the number that a single server can use.
        """
        return ()

    async def facts(self, plan: LaunchPlan) -> Mapping[str, str]:
        """Further facts of the target that results depend on, by name, such as ``{"image": "sha256:..."}``.

        Trials before and after a change cannot be compared. Called around each launch, so it must be quick; a fact that
        is not known at the moment is omitted.
        """
        return {}

    async def locate(self, model: Model) -> Model:
        """The model as servers on this target find it, by the settings alone.

        A deployer with model roots turns a bare name into a path below one of them.

        Raises:
            UsageError: If the settings do not allow the model.
        """
        return model

    def image(self, plan: LaunchPlan) -> str | None:
        """The container image that a plan runs in; None if it needs none."""
        return None

    async def launched_objects(self) -> Sequence[LaunchedObject]:
        """The servers that runs have launched on this target and that still exist, whoever owns them, found by their
        labels. Changes nothing. None by default, for deployers that launch no server.

        Raises:
            TrialFailedError: If the target cannot be reached.
        """
        return ()

    @abstractmethod
    async def reap(self, is_dead: Callable[[str], bool], *, study: str | None = None) -> list[str]:
        """Removes what dead owners left behind.

        Args:
            is_dead: Whether the owner with this id is dead.
            study: Only what belongs to this study; None: everything.

        Returns:
            One line per removed object.
        """


class BoundDeployer(Deployer):
    """A deployer for one engine and one model, which can launch their servers.

    A deployer that launches the servers of all engines and models in the same way inherits from this class; its
    :meth:`bind` returns the deployer itself.
    """

    def bind(self, engine: Engine, model: Model) -> "BoundDeployer":
        """The deployer itself; overridden if engine or model matter."""
        return self

    @abstractmethod
    def deploy(self, plan: LaunchPlan, context: DeployContext) -> AbstractAsyncContextManager[Endpoint]:
        """A context in which the plan's server runs.

        Entering it returns once the server is ready; leaving it removes everything, also on cancellation.

        Raises:
            TrialFailedError: On entering, if the server does not become ready.
        """


@runtime_checkable
class HasBaseArguments(Protocol):
    """A bound deployer whose target has a command line of its own."""

    async def base_arguments(self) -> BaseArguments:
        """The target's flags. Raises :class:`AutotunerError` if they cannot be read."""

    def built_over(self, base: BaseArguments) -> BoundDeployer:
        """This deployer for plans whose flags include the base arguments: a flag that a plan lacks is removed from the
        target's command line."""


@runtime_checkable
class HasPlatformBenchmark(Protocol):
    """A deployer whose target has a benchmark of its own."""

    @property
    def platform_benchmark(self) -> PlatformBenchmark:
        """The target's benchmark."""


@runtime_checkable
class AssumesHardware(Protocol):
    """A deployer on this machine that can plan while its target does not answer."""

    async def assumed_hardware(self) -> Hardware:
        """The hardware of this machine. Never raises for a target that does not answer."""


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
        """Current samples of these GPUs' sensors; empty if they cannot be read."""


@runtime_checkable
class ShowsCommand(Protocol):
    """A deployer whose servers are started by hand with another command than the plan's."""

    async def command(self, plan: LaunchPlan) -> tuple[str, ...]:
        """The command that starts a plan's server as this deployer does. Starts nothing."""
