"""A container image that plays SGLang or vLLM: this Python, the simulator, and the engines' own command lines.

It holds everything it needs (about 90 MB), so that a deployer's defaults work with it: no volumes, no registry.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import autotuner

_SHIMS = Path(autotuner.__file__).parent / "simulator" / "shims"
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip",
             "lib2to3", "pydoc_data", "__pycache__"}  # fmt: skip
_LISTED = """
import json, sys
import autotuner.simulator.__main__
print(json.dumps(sorted({m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)})))
"""
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)


def write_image(path: Path) -> None:
    """Writes the image's root file system as a tar file. Raises ``CalledProcessError`` where the simulator does not
    run."""
    with tarfile.open(path, "w") as tar:
        for file in sorted(set(_files())):
            tar.add(file, arcname=str(file).lstrip("/"), recursive=False)
        _link(tar, "/usr/local/bin/python3", os.path.realpath(sys.executable))
        for name in ("tmp", "root", "etc"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(folder)


def changes(simulated: Mapping[str, str]) -> list[str]:
    """What ``docker import --change`` is told; ``simulated`` are the simulator's settings (``GPU: H100``)."""
    own = Path(autotuner.__file__).resolve().parents[1]
    search = ":".join(dict.fromkeys([str(_SHIMS), str(own), sysconfig.get_path("purelib")]))
    env = {
        "PATH": f"{_SHIMS / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": search,
        "PYTHONHOME": sys.base_prefix,
        **{f"AUTOTUNER_SIMULATED_{name}": value for name, value in simulated.items()},
    }
    return [*(f"ENV {name}={value}" for name, value in env.items()), 'ENTRYPOINT ["/usr/local/bin/python3"]']


def _files() -> Iterator[Path]:
    """Everything that the simulator loads, the standard library, and the shared libraries of both."""
    loaded = json.loads(subprocess.run([sys.executable, "-c", _LISTED], capture_output=True, check=True).stdout)
    found = [Path(os.path.realpath(sys.executable)), *(Path(name) for name in loaded)]
    found += _below(Path(sysconfig.get_path("stdlib")))
    found += _below(Path(autotuner.__file__).parent / "simulator")
    found += [Path(autotuner.__file__).parent / "py.typed"]
    binaries = [file for file in found if file.suffix == ".so" or file.name.startswith("python")]
    yield from found
    yield from _libraries(binaries)


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _LEFT_OUT and not name.startswith("config-")]
        yield from (Path(place) / name for name in files)


def _libraries(binaries: list[Path]) -> Iterator[Path]:
    """Shared libraries as the loader finds them, and the loader; links and what they lead to."""
    ldd = shutil.which("ldd") or "ldd"
    told = subprocess.run([ldd, *map(str, binaries)], capture_output=True, text=True, check=False).stdout
    for name in set(_LIBRARY.findall(told)):
        path = Path(name)
        while path.is_symlink():
            yield path
            path = path.parent / path.readlink()
        yield path


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    link = tarfile.TarInfo(name.lstrip("/"))
    link.type, link.linkname, link.mode = tarfile.SYMTYPE, target, 0o777
    tar.addfile(link)
