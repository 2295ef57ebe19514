"""Settings of a server's container, and their three spellings: Docker's API, ``docker run``, and Compose.

Compose: github.com/compose-spec/compose-spec. The API: docs.docker.com/reference/api/engine.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from autotuner.invalid_value import InvalidValueError
from autotuner.manifests.volume import Volume, parse_volume

Json = dict[str, Any]

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_HIDES_GPUS = frozenset({"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"})


def parse_size(value: Any) -> int:
    """Bytes of ``16g``, ``512m``, ``1.5GiB`` or a plain number of bytes; units are powers of 1024, as Docker's are."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise InvalidValueError("not a size", remedy="write e.g. 512m, 16g, or bytes as a number")
    return int(float(match[1]) * 1024 ** _UNITS[match[2].lower()])


def size_text(size: int) -> str:
    """Bytes in Docker's largest unit that is exact."""
    for unit, power in (("g", 3), ("m", 2), ("k", 1)):
        if size % 1024**power == 0:
            return f"{size // 1024**power}{unit}"
    return str(size)


Size = Annotated[int, BeforeValidator(parse_size, json_schema_input_type=int | str), Field(gt=0)]
Variable = Annotated[str, Field(pattern=_VARIABLE)]


class ContainerSettings(BaseModel):
    """Settings of a server's container that do not depend on the machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str | None = Field(default=None, min_length=1)
    """Repository or full name; unset: the engine's own."""
    image_tag: str | None = Field(default=None, pattern=r"^[\w][\w.-]{0,127}$")
    """Tag of the image, in place of the engine's."""
    entrypoint: Literal["engine", "image"] = "engine"
    """``engine``: the engine's command replaces the image's entrypoint. ``image``: the entrypoint is kept, and the
    command becomes its arguments, without the words that the entrypoint itself consists of."""
    pull: Literal["missing", "always", "never"] = "missing"
    """When an image is pulled; ``always`` means once per run."""
    shm_size: Size = 16 << 30
    """Size of ``/dev/shm``; tensor parallelism needs much of it."""
    ipc: str | None = None
    """``host`` shares this machine's shared memory; ``shm_size`` then has no effect."""
    ulimits: Mapping[str, int | str] = Field(default_factory=lambda: {"memlock": -1, "stack": 64 << 20})
    """Limit or ``soft:hard`` by name, as in ``docker run --ulimit``."""
    network: str = Field(default="bridge", min_length=1)
    """``bridge``, the name of a bridge network, or ``host``."""
    volumes: tuple[str, ...] = ()
    """Additional volumes as ``host:container[:ro]``."""
    devices: tuple[str, ...] = ()
    """Devices as in ``docker run --device``; GPUs need none."""
    cpus: float | None = Field(default=None, gt=0)
    memory: Size | None = None
    """Limit of the container's memory, without swap on top."""
    user: str | None = Field(default=None, min_length=1)
    env_passthrough: tuple[Variable, ...] = ()
    """Names of variables that the container gets from the tuner's own environment; their values are never shown."""
    gpu_driver: Literal["nvidia", "cdi"] = "nvidia"
    """How GPUs are requested: through the NVIDIA runtime hook, or by Container Device Interface names."""
    runtime: str | None = Field(default=None, min_length=1)
    """The engine's runtime to use; unset: its default."""
    init: bool = True
    """Whether a small init runs as process 1 and forwards signals: many servers ignore SIGTERM as process 1."""
    container_port: int = Field(default=8000, ge=1, le=65535)
    """Port that the server listens on inside the container; the container engine chooses the outer one."""

    @property
    def mounts(self) -> tuple[Volume, ...]:
        """The study's own volumes."""
        return tuple(map(parse_volume, self.volumes))

    @field_validator("volumes")
    @classmethod
    def _volumes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            parse_volume(text)
        return value

    @field_validator("devices")
    @classmethod
    def _devices(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if not 1 <= len(text.split(":")) <= 3 or not text.startswith("/dev/"):
                remedy = "write /dev/NAME or /dev/NAME:/dev/INSIDE, optionally followed by :rwm"
                raise InvalidValueError(f"{text} is not a device", remedy=remedy)
        return value

    @field_validator("ulimits")
    @classmethod
    def _ulimits(cls, value: Mapping[str, int | str]) -> Mapping[str, int | str]:
        for name, limit in value.items():
            if isinstance(limit, str) and not re.fullmatch(r"-?\d+(:-?\d+)?", limit):
                raise InvalidValueError(f"{name}: {limit} is not a limit", remedy="write a number or soft:hard")
        return value

    @field_validator("env_passthrough")
    @classmethod
    def _no_gpu_variables(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if hidden := sorted(_HIDES_GPUS & set(value)):
            raise InvalidValueError(
                f"variable {hidden[0]} would hide leased GPUs", remedy="list the GPUs to use in gpu_ids"
            )
        return value

    @field_validator("network")
    @classmethod
    def _reachable(cls, value: str) -> str:
        if value == "none" or value.startswith("container:"):
            raise InvalidValueError(
                "the load could not reach it", remedy="write bridge, host, or the name of a bridge network"
            )
        return value


def host_config(settings: ContainerSettings) -> Json:
    """Sizes and rights, as ``HostConfig`` of the API."""
    host: Json = {
        "NetworkMode": settings.network,
        "Init": settings.init,
        "ShmSize": settings.shm_size,
        "Ulimits": [{"Name": n, "Soft": soft, "Hard": hard} for n, (soft, hard) in _limits(settings).items()],
        "Devices": [_device(text) for text in settings.devices],
    }
    if settings.ipc:
        host["IpcMode"] = settings.ipc
    if settings.runtime:
        host["Runtime"] = settings.runtime
    if settings.cpus:
        host["NanoCpus"] = round(settings.cpus * 1e9)
    if settings.memory:
        host["Memory"] = host["MemorySwap"] = settings.memory
    return host


def run_options(settings: ContainerSettings) -> list[str]:
    """The same as options of ``docker run``, without the network and the init."""
    words = ["--ipc", settings.ipc] if settings.ipc else []
    words += ["--shm-size", size_text(settings.shm_size)] if settings.ipc != "host" else []
    words += ["--runtime", settings.runtime] if settings.runtime else []
    words += ["--cpus", f"{settings.cpus:g}"] if settings.cpus else []
    if settings.memory:
        words += ["--memory", size_text(settings.memory), "--memory-swap", size_text(settings.memory)]
    words += ["--user", settings.user] if settings.user else []
    words += [w for name, limit in settings.ulimits.items() for w in ("--ulimit", f"{name}={limit}")]
    return words + [w for device in settings.devices for w in ("--device", device)]


def compose_fields(settings: ContainerSettings) -> Json:
    """The same as fields of a Compose service."""
    found: Json = {"shm_size": size_text(settings.shm_size)} if settings.ipc != "host" else {}
    if settings.pull != "missing":
        found["pull_policy"] = settings.pull
    if settings.ipc:
        found["ipc"] = settings.ipc
    if settings.runtime:
        found["runtime"] = settings.runtime
    if settings.user:
        found["user"] = settings.user
    if settings.cpus:
        found["cpus"] = settings.cpus
    if settings.memory:
        found |= {"mem_limit": size_text(settings.memory), "memswap_limit": size_text(settings.memory)}
    if settings.ulimits:
        found["ulimits"] = {
            name: soft if soft == hard else {"soft": soft, "hard": hard}
            for name, (soft, hard) in _limits(settings).items()
        }
    if settings.devices:
        found["devices"] = [*settings.devices]
    return found


def _limits(settings: ContainerSettings) -> dict[str, tuple[int, int]]:
    """(soft, hard) by name."""
    parts = {name: str(limit).partition(":") for name, limit in settings.ulimits.items()}
    return {name: (int(soft), int(hard or soft)) for name, (soft, _, hard) in parts.items()}


def _device(text: str) -> dict[str, str]:
    outside, *rest = text.split(":")
    rights = rest.pop() if rest and not rest[-1].startswith("/") else "rwm"
    return {"PathOnHost": outside, "PathInContainer": rest[0] if rest else outside, "CgroupPermissions": rights}


_PAIRED = frozenset(
    {"--network", "-p", "--gpus", "--ipc", "--shm-size", "--runtime", "--cpus", "--memory", "--memory-swap", "--user",
     "--ulimit", "--device", "-v", "-e", "--entrypoint"}
)  # fmt: skip
"""Options with a value in the ``docker run`` lines that autotuner writes."""


@dataclass(frozen=True)
class RunLine:
    """A parsed ``docker run`` line as autotuner writes it."""

    options: Mapping[str, Sequence[str]]
    """Values by option."""
    arguments: tuple[str, ...]
    """What follows the image."""

    @classmethod
    def of(cls, command: Sequence[str]) -> "RunLine | None":
        """Parses a command line; None if it is not ``docker run``."""
        if tuple(command[:2]) != ("docker", "run"):
            return None
        found: dict[str, list[str]] = {}
        index = 2
        while index < len(command) and command[index].startswith("-"):
            if command[index] in _PAIRED and index + 1 < len(command):
                found.setdefault(command[index], []).append(command[index + 1])
                index += 1
            index += 1
        return cls(found, tuple(command[index + 1 :]))

    @property
    def volumes(self) -> tuple[Volume, ...]:
        """Its volumes (``-v``)."""
        return tuple(map(parse_volume, self.options.get("-v", ())))

    @property
    def env(self) -> dict[str, str | None]:
        """Its variables (``-e``); None for one whose value comes from the shell."""
        parts = [text.partition("=") for text in self.options.get("-e", ())]
        return {name: value if equals else None for name, equals, value in parts}
