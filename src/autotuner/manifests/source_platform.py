"""Where a study's servers ran: what an exported manifest carries over from there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from autotuner.manifests.container_settings import ContainerSettings
from autotuner.manifests.pod_settings import ServerPod
from autotuner.manifests.volume import Volume
from autotuner.study.launch import LaunchPlan
from autotuner.study.trial import Trial


@dataclass(frozen=True)
class Origin:
    """The platform on which a trial ran, in terms that every target understands; empty for a local process."""

    pod: ServerPod | None = None
    """Its pod's settings, where it ran in one."""
    container: ContainerSettings | None = None
    """Its container's settings, where it ran in one without a pod."""
    namespace: str | None = None
    runtime: str | None = None
    """The serving runtime whose command line it had, with our flags put in. None: the plan was all of it."""
    runtime_image_tag: str | None = None
    """Tag under which it ran the runtime's own image, whose repository the study does not know."""
    volumes: tuple[Volume, ...] | None = None
    """What its container saw of the machine; None where it was not recorded."""
    env: Mapping[str, str | None] = field(default_factory=dict)
    """Variables of its container; None for a value that came from the environment of its start."""
    entrypoint_words: int | None = None
    """How many leading arguments of its command line were the image's own entrypoint, which the container kept. None:
    the command replaced the entrypoint."""


@runtime_checkable
class ExportSource(Protocol):
    """The settings of a deployer whose studies carry more into a manifest than a command line.

    A deployer's ``Settings`` may have this ability; exports need to know nothing else about a deployer.
    """

    def origin(self, plan: LaunchPlan, trial: Trial) -> Origin:
        """Where this trial, which the plan launches again, ran."""
