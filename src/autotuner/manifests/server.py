"""One inference server, as a pod or a container starts it: for a trial, or for good."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from autotuner.manifests.pod_settings import Claim, SecretKey
from autotuner.manifests.volume import Volume

HUB_CACHE = "/hub-cache"
"""Where a server keeps what it downloads from a hub."""
TOKEN = "HF_TOKEN"  # noqa: S105 - the variable's name
NO_GPUS: Mapping[str, str] = {"NVIDIA_VISIBLE_DEVICES": "void"}
"""CUDA images ask for all GPUs; ``void`` keeps the NVIDIA runtime from handing out any."""
ALL_INTERFACES = "0.0.0.0"  # noqa: S104 - of a pod's or container's own network


@dataclass(frozen=True)
class Server:
    """What decides a server's container, apart from the settings of the platform."""

    image: str
    command: tuple[str, ...]
    """Program, with or without leading arguments; empty: the image's own entrypoint."""
    args: tuple[str, ...]
    port: int
    ready_path: str
    """Answers with 200 once the server is ready."""
    gpus: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, SecretKey] = field(default_factory=dict)
    """Variables by reference; they override those of ``env``."""
    uses_hub: bool = False
    """Whether it downloads models itself."""
    claim: Claim | None = None
    """Volume that holds its models."""
    volumes: tuple[Volume, ...] = ()
    """Folders and files of the machine that it sees."""

    def own_env(self) -> dict[str, str]:
        """Variables that the container needs whatever the study says, which the study's own override."""
        return {**({} if self.gpus else NO_GPUS), **({"HF_HOME": HUB_CACHE} if self.uses_hub else {})}
