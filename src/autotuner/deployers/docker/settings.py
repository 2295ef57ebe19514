"""Settings of the Docker deployer, validated when the study file is read."""

import os
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from autotuner.invalid_value import InvalidValueError
from autotuner.manifests.container_settings import ContainerSettings, RunLine
from autotuner.manifests.image_name import check_tags, image_name
from autotuner.manifests.source_platform import Origin
from autotuner.study.launch import LaunchPlan
from autotuner.study.text.forms import Duration
from autotuner.study.trial import Trial


def _as_strings(value: Any) -> Any:
    """Converts GPU indices that are written as numbers."""
    return (
        [str(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in value]
        if isinstance(value, list | tuple)
        else value
    )


class DockerSettings(ContainerSettings):
    """Settings of the deployer ``docker`` in a study file."""

    model_roots: tuple[Path, ...] = (Path("/mnt/data/models"),)
    """Folders that contain models. No model files outside of them and ``hub_cache`` are mounted into a container."""
    hub_cache: Path | None = None
    """Cache of models from the Hub; unset: ``HF_HOME``, else ``~/.cache/huggingface``."""
    gpu_ids: Annotated[tuple[str, ...] | None, BeforeValidator(_as_strings)] = Field(default=None, min_length=1)
    """Indices or uuids of the GPUs to use; unset: all."""
    start_timeout: Duration | None = Field(default=None, gt=0)
    """Longest time from start to ready; unset: the engine's default."""
    stop_grace: Duration = Field(default=10.0, ge=0)
    """Time between SIGTERM and SIGKILL."""
    engine_patience: Duration = Field(default=30.0, ge=0)
    """How long to wait for an unreachable Docker engine before a launch, and when a container is removed."""
    docker_host: str | None = Field(default=None, pattern=r"^(unix|tcp|http|https)://")
    """The engine's address; unset: ``DOCKER_HOST`` or Docker's current context."""
    ports: tuple[int, int] = (24000, 24999)
    """First and last port to use if ``network`` is ``host``."""
    check_flags: bool = False
    """Whether preflight compares flags with the ``--help`` output of the image's server; this runs a container."""

    @field_validator("model_roots")
    @classmethod
    def _absolute(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        roots = tuple(root.expanduser() for root in value)
        for root in roots:
            if not root.is_absolute() or ".." in root.parts or root == Path("/"):
                raise InvalidValueError(f"{root} cannot be a model root", remedy="use an absolute path other than /")
        return roots

    @model_validator(mode="after")
    def _together(self) -> Self:
        check_tags(self.image, self.image_tag)
        if not 1 <= self.ports[0] <= self.ports[1] <= 65535:
            raise ValueError("ports must be [first, last] with 1 <= first <= last <= 65535")
        return self

    def image_name(self, engines: str | None) -> str | None:
        """Returns the image to run, with its tag; None if neither the settings nor the engine name one.

        Args:
            engines: The engine's default image.
        """
        return image_name(self.image, self.image_tag, engines)

    @property
    def cache(self) -> Path:
        """The Hub cache on this machine."""
        return self.hub_cache or Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")

    def origin(self, plan: LaunchPlan, trial: Trial) -> Origin:
        """Returns what the settings and the ``docker run`` command of a trial gave to its container."""
        line = RunLine.of(trial.command)
        if line is None:
            return Origin(container=self)
        words = plan.in_container().argv(host="", port=0)
        kept = len(words) - len(line.arguments) if self.entrypoint == "image" else None
        return Origin(container=self, volumes=line.volumes, env=line.env, entrypoint_words=kept)
