"""Launch plans, hardware, labels and identities: the data that engines and deployers exchange."""

from collections.abc import Mapping, Sequence

from pydantic import Field

from autotuner.study.base import FrozenModel, Value

SERVER_LOG = "server.log"
"""File name of the server's log in a trial's folder, wherever the server runs."""


class Hardware(FrozenModel):
    """Hardware of the target. Constraints can name the fields. Memory in GiB."""

    cpus: int = 1
    memory_gb: float = 0.0
    gpus: int = 0
    gpu_memory_gb: float = 0.0
    """Memory of the smallest GPU."""
    gpu_name: str = ""
    """Name of the GPUs, such as ``NVIDIA H100 80GB HBM3``; empty without GPUs or with several kinds."""
    no_gpus: str = Field(default="", exclude=True)
    """Why no server can have a GPU, if the target knows. Not available in constraints."""
    no_gpus_remedy: str = Field(default="", exclude=True)
    """What to change so that servers can have GPUs, if the target knows. Not available in constraints."""


class Gpu(FrozenModel):
    """One GPU of the target, as it is now. Memory in GiB."""

    index: int
    uuid: str
    name: str = ""
    memory_gb: float = 0.0
    used_gb: float = 0.0
    users: tuple[str, ...] = ()
    """Processes on it that autotuner did not start, for display: ``python3 (pid 123), 4.1 GiB``."""


class GpuSample(FrozenModel):
    """One sample of a GPU's sensors; None where the GPU reports no value."""

    at: float
    """Seconds since the epoch."""
    index: int
    utilization: float | None = None
    """Share (0 to 1) of the last sampling period in which a kernel ran."""
    memory_gb: float | None = None
    """GiB in use."""
    power_w: float | None = None
    temperature_c: float | None = None
    clock_mhz: float | None = None
    energy_j: float | None = None
    """Energy used since the driver was loaded; only differences are meaningful."""


class Flag(FrozenModel):
    """One command-line flag. Each value is exactly one argument."""

    name: str
    """The flag with its dashes, e.g. ``--tp-size``."""
    value: str | None = None
    """None for a bare switch."""
    more: tuple[str, ...] = ()
    """Second and further values of a flag that takes several."""

    def argv(self) -> tuple[str, ...]:
        """The flag as arguments."""
        return (self.name,) if self.value is None else (self.name, self.value, *self.more)


class Readiness(FrozenModel):
    """When a server counts as ready: GET ``path`` returns ``status``. Times in seconds."""

    path: str = "/health"
    status: int = 200
    timeout_s: float = 120.0
    interval_s: float = 0.02


class LaunchPlan(FrozenModel):
    """How to start a server.

    Command and flags are separate, so that a deployer with a base command can merge them. The deployer adds the
    address, because only it knows where the server may listen.
    """

    command: tuple[str, ...]
    """Program and fixed leading arguments."""
    container_command: tuple[str, ...] = ()
    """Replaces ``command`` in a container if that names a program of this machine by its path; empty if not needed."""
    flags: tuple[Flag, ...] = ()
    """Flags for the model, then the fixed ones, then the tuned ones."""
    host_flag: str = "--host"
    port_flag: str = "--port"
    env: Mapping[str, str] = Field(default_factory=dict)
    readiness: Readiness = Readiness()
    model: str
    """Name to send in requests' ``model`` field."""
    gpus: int = 0
    image: str | None = None
    """Container image with its tag, for deployers that need one."""
    help: tuple[str, ...] = ()
    """Command that prints the server's options and exits, for a preflight that checks flags against an image."""
    needs_modules: tuple[str, ...] = ()
    """Python modules that the command imports; the preflight looks for them without importing them."""
    needs_files: tuple[str, ...] = ()
    """Files or folders that must exist on the target (a local model). A container sees them under the same paths."""
    hub_models: tuple[str, ...] = ()
    """Models that the server downloads from the Hub; a container mounts the Hub's cache."""
    hub_revisions: Mapping[str, str] = Field(default_factory=dict)
    """Branch, tag or commit of the models among ``hub_models`` that the server takes another one of than ``main``."""
    tuned: Mapping[str, Value] = Field(default_factory=dict)
    """Values of tuned parameters in this plan, by canonical name."""
    tuned_env: Mapping[str, str | None] = Field(default_factory=dict)
    """Values of tuned environment variables in this plan; None for one that must not be set."""

    @property
    def address_flags(self) -> tuple[str, ...]:
        """The flags for the server's address, each with one value."""
        return (self.host_flag, self.port_flag)

    @property
    def unset(self) -> tuple[str, ...]:
        """Environment variables that the server must not inherit."""
        return tuple(name for name, text in self.tuned_env.items() if text is None)

    def in_container(self) -> "LaunchPlan":
        """This plan for a container."""
        if not self.container_command:
            return self
        return self.model_copy(update={"command": self.container_command, "container_command": ()})

    def argv(self, *, host: str, port: int) -> tuple[str, ...]:
        """The complete command line of a server that listens on ``host:port``."""
        address = (Flag(name=self.host_flag, value=host), Flag(name=self.port_flag, value=str(port)))
        return (*self.command, *(a for f in (*self.flags, *address) for a in f.argv()))


def without_flags(argv: Sequence[str], flags: Sequence[str]) -> tuple[str, ...]:
    """``argv`` without these flags and the one argument that follows each of them."""
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


class Labels(FrozenModel):
    """Identify everything that is created outside of this process, so that it can be found and removed."""

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


class LaunchedObject(FrozenModel):
    """Something that a run created outside of its process, found by its labels."""

    kind: str
    """The platform's term for it, e.g. ``container``."""
    name: str
    """Its name on the platform; the process id of a process."""
    study: str
    """``?`` if its labels do not say it."""
    trial: int | None
    owner: str
    """ID of the run that created it."""
    runner_ended: bool = False
    """The process that created it is known to have ended, whatever a store says about its owner."""

    @property
    def text(self) -> str:
        """One line for the user."""
        trial = "?" if self.trial is None else self.trial
        return f"{self.kind} {self.name} of study {self.study} trial {trial} (owner {self.owner})"


class Identity(FrozenModel):
    """Identity of a running server. A measurement is void if it changes meanwhile."""

    kind: str
    """``process``, ``container``, ``pod`` or ``external``."""
    id: str
    """Process id, container id or pod UID."""
    started: float = 0.0
    """Start time in seconds by the platform's clock, so that a reused id is a different identity."""
    restarts: int = 0
