"""What a study file can say about containers: checked when the file is read, before any engine is asked."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from autotuner.manifests.image_name import check_tags, image_name
from autotuner.study.short_forms import Duration

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
        raise ValueError("not a size; write e.g. 512m, 16g, or bytes as a number")
    return int(float(match[1]) * 1024 ** _UNITS[match[2].lower()])


def _texts(value: Any) -> Any:
    """GPU indices may be written as numbers."""
    return (
        [str(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in value]
        if isinstance(value, list | tuple)
        else value
    )


Size = Annotated[int, BeforeValidator(parse_size, json_schema_input_type=int | str), Field(gt=0)]
Variable = Annotated[str, Field(pattern=_VARIABLE)]


class Volume(BaseModel):
    """A folder or file of this machine that the container sees."""

    model_config = ConfigDict(frozen=True)

    source: str
    target: str
    read_only: bool = False

    @property
    def text(self) -> str:
        """As in ``docker run -v``."""
        return f"{self.source}:{self.target}" + (":ro" if self.read_only else "")


def parse_volume(text: str) -> Volume:
    """``host:container[:ro]``, both absolute; ``~`` is this user's home. Raises ValueError."""
    parts = text.split(":")
    mode = parts.pop() if parts[-1] in {"ro", "rw"} else "rw"
    if len(parts) != 2 or not all(parts):
        raise ValueError(f"{text} is no volume; write /host/path:/container/path or /host/path:/container/path:ro")
    source = os.path.expanduser(parts[0])  # noqa: PTH111 - stays text
    target = parts[1]
    for path in (source, target):
        if not path.startswith("/") or ".." in Path(path).parts:
            raise ValueError(f"{path} is no absolute path; write both sides of a volume as absolute paths")
    return Volume(source=source, target=target, read_only=mode == "ro")


class DockerSettings(BaseModel):
    """Settings of the deployer in a study file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str | None = Field(default=None, min_length=1)
    """Repository or full name; unset: the engine's own."""
    image_tag: str | None = Field(default=None, pattern=r"^[\w][\w.-]{0,127}$")
    """Tag of the image, in place of the engine's."""
    entrypoint: Literal["engine", "image"] = "engine"
    """``engine``: the engine's command replaces the image's entrypoint. ``image``: the entrypoint is kept, and the
    command becomes its arguments, without the words that the entrypoint itself consists of."""
    pull: Literal["missing", "always", "never"] = "missing"
    """When an image is fetched; ``always`` means once a run."""
    model_roots: tuple[Path, ...] = (Path("/mnt/data/models"),)
    """Folders that hold models. Nothing outside of them (and of ``hub_cache``) is shown to a container as a model."""
    hub_cache: Path | None = None
    """Cache of models from a hub; unset: ``HF_HOME``, else ``~/.cache/huggingface``."""
    shm_size: Size = 16 << 30
    """Size of ``/dev/shm``; tensor parallelism needs much of it."""
    ipc: str | None = None
    """``host`` shares this machine's shared memory, and ``shm_size`` means nothing then."""
    ulimits: Mapping[str, int | str] = Field(default_factory=lambda: {"memlock": -1, "stack": 64 << 20})
    """Limit or ``soft:hard`` by name, as in ``docker run --ulimit``."""
    network: str = Field(default="bridge", min_length=1)
    """``bridge``, the name of a bridge network, or ``host``."""
    volumes: tuple[str, ...] = ()
    """Further ``host:container[:ro]``."""
    devices: tuple[str, ...] = ()
    """Devices as in ``docker run --device``; GPUs need none."""
    cpus: float | None = Field(default=None, gt=0)
    memory: Size | None = None
    """Limit of the container's memory, without swap on top."""
    user: str | None = Field(default=None, min_length=1)
    env_passthrough: tuple[Variable, ...] = ()
    """Names of variables that the container gets from the tuner's own environment; their values are never shown."""
    gpu_ids: Annotated[tuple[str, ...] | None, BeforeValidator(_texts)] = Field(default=None, min_length=1)
    """Indices or uuids of the GPUs to use; unset: all that are found."""
    gpu_driver: Literal["nvidia", "cdi"] = "nvidia"
    """How GPUs are asked for: the NVIDIA runtime hook, or names of the Container Device Interface."""
    runtime: str | None = Field(default=None, min_length=1)
    """The engine's runtime to use; unset: its default."""
    start_timeout: Duration | None = Field(default=None, gt=0)
    """Longest time from start to ready; unset: the engine's."""
    stop_grace: Duration = Field(default=10.0, ge=0)
    """Time between SIGTERM and SIGKILL."""
    engine_patience: Duration = Field(default=30.0, ge=0)
    """How long a Docker engine that went away is waited for, before a launch and when a container is removed."""
    docker_host: str | None = Field(default=None, pattern=r"^(unix|tcp|http|https)://")
    """The engine's address; unset: ``DOCKER_HOST`` or Docker's current context."""
    init: bool = True
    """A small init as process 1, which passes signals on: many servers ignore SIGTERM as process 1."""
    container_port: int = Field(default=8000, ge=1, le=65535)
    """Port that the server listens on inside; the outer one is the engine's choice."""
    ports: tuple[int, int] = (24000, 24999)
    """First and last port to use where ``network`` is ``host``."""
    check_flags: bool = False
    """Preflight compares flags with the ``--help`` of the image's own server; this runs a container."""

    @field_validator("model_roots")
    @classmethod
    def _absolute(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        roots = tuple(root.expanduser() for root in value)
        for root in roots:
            if not root.is_absolute() or ".." in root.parts or root == Path("/"):
                raise ValueError(f"{root} is no root for models; write an absolute folder other than /")
        return roots

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
                raise ValueError(f"{text} is no device; write /dev/NAME, /dev/NAME:/dev/INSIDE or with :rwm behind")
        return value

    @field_validator("ulimits")
    @classmethod
    def _ulimits(cls, value: Mapping[str, int | str]) -> Mapping[str, int | str]:
        for name, limit in value.items():
            if isinstance(limit, str) and not re.fullmatch(r"-?\d+(:-?\d+)?", limit):
                raise ValueError(f"{name}: {limit} is no limit; write a number or soft:hard")
        return value

    @field_validator("env_passthrough")
    @classmethod
    def _no_gpu_variables(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if hidden := sorted(_HIDES_GPUS & set(value)):
            raise ValueError(f"variable {hidden[0]} would hide leased GPUs; list the GPUs to use in gpu_ids")
        return value

    @field_validator("network")
    @classmethod
    def _reachable(cls, value: str) -> str:
        if value == "none" or value.startswith("container:"):
            raise ValueError("the load could not reach it; write bridge, host, or the name of a bridge network")
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        check_tags(self.image, self.image_tag)
        if not 1 <= self.ports[0] <= self.ports[1] <= 65535:
            raise ValueError("ports must be [first, last] with 1 <= first <= last <= 65535")
        return self

    def image_name(self, engines: str | None) -> str | None:
        """The image to run, with its tag; ``engines`` is what the engine proposes. None where nobody names one."""
        return image_name(self.image, self.image_tag, engines)

    @property
    def cache(self) -> Path:
        """The hub's cache on this machine."""
        return self.hub_cache or Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
