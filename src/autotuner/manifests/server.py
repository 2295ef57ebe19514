"""Description of one inference server in a container, for trials and for exported winners."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from autotuner.manifests.pod_settings import Claim, SecretKey
from autotuner.manifests.volume import Volume

HUB_CACHE = "/hub-cache"
"""Folder in the container for downloads from the Hub."""
TOKEN = "HF_TOKEN"  # noqa: S105 - the variable's name
NO_GPUS: Mapping[str, str] = {"NVIDIA_VISIBLE_DEVICES": "void"}
"""CUDA images ask for all GPUs; ``void`` keeps the NVIDIA runtime from handing out any."""
ALL_INTERFACES = "0.0.0.0"  # noqa: S104 - of a pod's or container's own network


@dataclass(frozen=True)
class Server:
    """Inputs of a server's container that do not depend on the platform's settings."""

    image: str
    command: tuple[str, ...]
    """Program, with or without leading arguments; empty: the image's own entrypoint."""
    args: tuple[str, ...]
    """Arguments after ``command``."""
    port: int
    ready_path: str
    """URL path that returns 200 once the server is ready."""
    gpus: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, SecretKey] = field(default_factory=dict)
    """Variables by reference to a Secret; they override those of ``env``."""
    uses_hub: bool = False
    """Whether the server downloads models from the Hub itself."""
    claim: Claim | None = None
    """PersistentVolumeClaim that contains the models."""
    volumes: tuple[Volume, ...] = ()
    """Folders and files of the machine that are mounted into the container."""

    def own_env(self) -> dict[str, str]:
        """Returns the variables that every such container needs; those of the study override them."""
        return {**({} if self.gpus else NO_GPUS), **({"HF_HOME": HUB_CACHE} if self.uses_hub else {})}
