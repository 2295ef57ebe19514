"""Settings of the stand-in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Settings of the stand-in, passed to its process as JSON."""

    kubeconfig: str
    listen: str
    """Address of this machine that the API server can reach."""
    engine_image: str
    """Image that simulates SGLang and contains ``python3``."""
    manager_image: str
    """Image whose program only sleeps; clients read its tag."""
    model_path: str
    """Folder of the model on the node."""
    ingress: bool = False
    benchmark_pause_s: float = 60.0
    """Seconds between two checks of the objects that a BenchmarkJob waits for."""
    real: str = ""
    """Folder with a real OME, which replaces controllers and webhooks; faults cannot be set then."""
