"""A container image that simulates SGLang and vLLM: this Python, the simulator, and the engines' command lines.

It contains everything it needs (about 90 MB), so that a deployer's defaults work without volumes and a registry.
"""

from collections.abc import Mapping
from pathlib import Path

import autotuner
from support.labs.python_image import environment, write_root

_SIMULATOR = Path(autotuner.__file__).parent / "simulator"
_SHIMS = _SIMULATOR / "shims"
ENTRYPOINT = ("/usr/local/bin/python3",)


def write_image(path: Path) -> None:
    """Writes the root file system as a tar file. Raises ``CalledProcessError`` if the simulator fails to load."""
    write_root(path, "autotuner.simulator.__main__", [_SIMULATOR])


def image_environment(simulated: Mapping[str, str]) -> dict[str, str]:
    """Returns the image's environment; ``simulated`` are the simulator's settings (``GPU: H100``)."""
    plain = environment()
    return {
        **plain,
        "PATH": f"{_SHIMS / 'bin'}:{plain['PATH']}",
        "PYTHONPATH": f"{_SHIMS}:{plain['PYTHONPATH']}",
        **{f"AUTOTUNER_SIMULATED_{name}": value for name, value in simulated.items()},
    }


def changes(simulated: Mapping[str, str]) -> list[str]:
    """Returns arguments of ``docker import --change``; ``simulated`` are the simulator's settings."""
    variables = [f"ENV {name}={value}" for name, value in image_environment(simulated).items()]
    return [*variables, f'ENTRYPOINT ["{ENTRYPOINT[0]}"]']
