"""What a deployer needs to know to start a server: pure data between an engine and a deployer."""

from collections.abc import Mapping, Sequence

from pydantic import Field

from autotuner.study.base import Noun, Value

SERVER_LOG = "server.log"
"""File name of the server's log in a trial's folder, wherever the server runs."""


class Hardware(Noun):
    """What the target machine has; names usable in constraints."""

    cpus: int = 1
    memory_gb: float = 0.0
    gpus: int = 0
    gpu_memory_gb: float = 0.0
    """Of the smallest GPU."""
    gpu_name: str = ""
    """``NVIDIA H100 80GB HBM3``; empty where there is none, or several kinds."""
    no_gpus: str = Field(default="", exclude=True)
    """Why no server can have a GPU, where the target knows, and what to change. It is no name for constraints."""


class Gpu(Noun):
    """One GPU of the target as it is at the moment. Memory in GiB."""

    index: int
    uuid: str
    name: str = ""
    memory_gb: float = 0.0
    used_gb: float = 0.0
    users: tuple[str, ...] = ()
    """Processes on it that no run of ours started, each as a person reads it (``python3 (pid 123), 4.1 GiB``)."""


class GpuSample(Noun):
    """One GPU's sensors at a moment; None where the GPU does not tell."""

    at: float
    """Seconds since the epoch."""
    index: int
    utilization: float | None = None
    """0 to 1: share of the last sampling period in which a kernel ran."""
    memory_gb: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    clock_mhz: float | None = None
    energy_j: float | None = None
    """Since the driver was loaded; only differences mean something."""


class Flag(Noun):
    """One command-line flag. ``value=None`` is a bare switch; each value is exactly one argument."""

    name: str
    """With its dashes, e.g. ``--tp-size``."""
    value: str | None = None
    more: tuple[str, ...] = ()
    """Further values of a flag that takes several."""

    def argv(self) -> tuple[str, ...]:
        """The flag as arguments."""
        return (self.name,) if self.value is None else (self.name, self.value, *self.more)


class Readiness(Noun):
    """When the server counts as ready: GET ``path`` answers with ``status``."""

    path: str = "/health"
    status: int = 200
    timeout_s: float = 120.0
    interval_s: float = 0.02


class LaunchPlan(Noun):
    """A server's start, with command and flags apart so that a deployer that has a base command can merge.

    The address is filled in by the deployer, since it alone knows where the server may listen.
    """

    command: tuple[str, ...]
    """Program and fixed leading arguments."""
    container_command: tuple[str, ...] = ()
    """The same in a container, where ``command`` names a program by its path on this machine; empty: as ``command``."""
    flags: tuple[Flag, ...] = ()
    """The model, the fixed arguments, then the tuned ones."""
    host_flag: str = "--host"
    port_flag: str = "--port"
    env: Mapping[str, str] = Field(default_factory=dict)
    readiness: Readiness = Readiness()
    model: str
    """Name to send in requests' ``model`` field."""
    gpus: int = 0
    image: str | None = None
    """Container image (with its tag), for deployers that need one."""
    help: tuple[str, ...] = ()
    """Command line that prints the server's options and ends, for a preflight that checks flags against an image."""
    needs_modules: tuple[str, ...] = ()
    """Python modules that the command imports, for a preflight that looks without importing."""
    needs_files: tuple[str, ...] = ()
    """Files or folders that must exist on the target (a local model); a container sees them under the same path."""
    hub_models: tuple[str, ...] = ()
    """Models that the server fetches from a hub by itself; a container gets the hub's cache."""
    hub_revisions: Mapping[str, str] = Field(default_factory=dict)
    """Branch, tag or commit of the models among ``hub_models`` that the server takes another one of than ``main``."""
    tuned: Mapping[str, Value] = Field(default_factory=dict)
    """The tuned parameters this plan realizes (canonical names)."""
    tuned_env: Mapping[str, str | None] = Field(default_factory=dict)
    """The tuned environment variables this plan realizes; None for one that must not be set."""

    @property
    def address_flags(self) -> tuple[str, ...]:
        """The flags that say where the server listens, each with one value."""
        return (self.host_flag, self.port_flag)

    @property
    def unset(self) -> tuple[str, ...]:
        """Variables that the server must not inherit."""
        return tuple(name for name, text in self.tuned_env.items() if text is None)

    def in_container(self) -> "LaunchPlan":
        """This plan for a container."""
        if not self.container_command:
            return self
        return self.model_copy(update={"command": self.container_command, "container_command": ()})

    def argv(self, *, host: str, port: int) -> tuple[str, ...]:
        """The whole command line for a server that listens on ``host:port``."""
        address = (Flag(name=self.host_flag, value=host), Flag(name=self.port_flag, value=str(port)))
        return (*self.command, *(a for f in (*self.flags, *address) for a in f.argv()))


def without_flags(argv: Sequence[str], flags: Sequence[str]) -> tuple[str, ...]:
    """``argv`` without these flags, each with the one argument behind it."""
    kept: list[str] = []
    skip = False
    for word in argv:
        if skip:
            skip = False
        elif word in flags:
            skip = True
        else:
            kept.append(word)
    return tuple(kept)


class Labels(Noun):
    """Carried by everything that is created outside of this process, so that it can be found and removed."""

    study: str
    trial: int
    owner: str

    def env(self) -> dict[str, str]:
        """The labels as environment variables of a process or container."""
        return {
            "AUTOTUNER_STUDY": self.study,
            "AUTOTUNER_TRIAL": str(self.trial),
            "AUTOTUNER_OWNER": self.owner,
        }


class Identity(Noun):
    """Which server this is. Equal before and after a measurement, or the measurement is void."""

    kind: str
    """``process``, ``container``, ``pod`` or ``external``."""
    id: str
    """Process id, container id or pod uid."""
    started: float = 0.0
    """Start time (seconds, the platform's own clock), so that a reused id is a different identity."""
    restarts: int = 0
