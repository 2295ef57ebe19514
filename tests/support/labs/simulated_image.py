"""A container image that plays SGLang or vLLM: this Python, the simulator, and the engines' own command lines.

It holds everything it needs (about 90 MB), so that a deployer's defaults work with it: no volumes, no registry.
"""

from collections.abc import Mapping
from pathlib import Path

import autotuner
from support.labs.python_image import environment, write_root

_SIMULATOR = Path(autotuner.__file__).parent / "simulator"
_SHIMS = _SIMULATOR / "shims"
ENTRYPOINT = ("/usr/local/bin/python3",)


def write_image(path: Path) -> None:
    """Writes the image's root file system as a tar file. Raises ``CalledProcessError`` where the simulator does not
    run."""
    write_root(path, "autotuner.simulator.__main__", [_SIMULATOR])


def image_environment(simulated: Mapping[str, str]) -> dict[str, str]:
    """What the image's programs find in their environment; ``simulated`` are the simulator's settings
    (``GPU: H100``)."""
    plain = environment()
    return {
        **plain,
        "PATH": f"{_SHIMS / 'bin'}:{plain['PATH']}",
        "PYTHONPATH": f"{_SHIMS}:{plain['PYTHONPATH']}",
        **{f"AUTOTUNER_SIMULATED_{name}": value for name, value in simulated.items()},
    }


def changes(simulated: Mapping[str, str]) -> list[str]:
    """Arguments of ``docker import --change``; ``simulated`` as above."""
    told = [f"ENV {name}={value}" for name, value in image_environment(simulated).items()]
    return [*told, f'ENTRYPOINT ["{ENTRYPOINT[0]}"]']
