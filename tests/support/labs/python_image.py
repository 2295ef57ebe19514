"""Root file system of a container image with this Python and the dependencies of a module.

It is copied from what is installed here, so that no registry is needed.
"""

import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path

import autotuner

_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip",
             "lib2to3", "pydoc_data", "__pycache__"}  # fmt: skip
_LISTED = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
print(json.dumps(sorted({m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)})))
"""
_ENV = "/usr/bin/env"
"""Program in the shebang of installed commands."""
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)


def write_root(path: Path, module: str, more: Iterable[Path] = ()) -> None:
    """Writes the root file system as a tar file.

    Args:
        path: The tar file.
        module: Module to include, with everything that it loads.
        more: Further files, and folders with their content.

    Raises:
        CalledProcessError: If the module fails to load.
    """
    with tarfile.open(path, "w") as tar:
        files = set(_files(module, more))
        for file in sorted(files | set(_compiled(files))):
            tar.add(file, arcname=str(file).lstrip("/"), recursive=False)
        tar.add(os.path.realpath(_ENV), arcname=_ENV.lstrip("/"))
        _link(tar, "/usr/local/bin/python3", os.path.realpath(sys.executable))
        for name in ("tmp", "root", "etc"):
            folder = tarfile.TarInfo(name)
            folder.type = tarfile.DIRTYPE
            folder.mode = 0o1777 if name == "tmp" else 0o755
            tar.addfile(folder)


def environment() -> dict[str, str]:
    """Returns the environment in which Python finds its modules in the image."""
    package = Path(autotuner.__file__).resolve().parents[1]
    search = dict.fromkeys([str(package), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": ":".join(search),
        "PYTHONHOME": sys.base_prefix,
    }


def _files(module: str, more: Iterable[Path]) -> Iterator[Path]:
    """Yields everything that the module loads, the standard library, and the shared libraries of both."""
    argv = [sys.executable, "-c", _LISTED, module]
    loaded = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
    found = [Path(os.path.realpath(sys.executable)), *(Path(name) for name in loaded)]
    for place in (Path(sysconfig.get_path("stdlib")), *more):
        found += [place] if place.is_file() else _below(place)
    found += [Path(autotuner.__file__).parent / "py.typed"]
    binaries = [Path(_ENV), *(file for file in found if file.suffix == ".so" or file.name.startswith("python"))]
    yield from found
    yield from _libraries(binaries)


def _compiled(files: Iterable[Path]) -> Iterator[Path]:
    """Yields the compiled modules, without which every container compiles them at its start."""
    standard = Path(sysconfig.get_path("stdlib"))
    for file in files:
        if file.suffix == ".py":
            with suppress(OSError):  # most of the standard library is never loaded, and its folder may be read-only
                if not file.is_relative_to(standard):
                    py_compile.compile(str(file), doraise=False, quiet=2)
            compiled = Path(cache_from_source(file))
            if compiled.exists():
                yield compiled


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _LEFT_OUT and not name.startswith("config-")]
        yield from (Path(place) / name for name in files)


def _libraries(binaries: list[Path]) -> Iterator[Path]:
    """Yields the shared libraries as the loader finds them, and the loader, with symbolic links and their targets."""
    ldd = shutil.which("ldd") or "ldd"
    output = subprocess.run([ldd, *map(str, binaries)], capture_output=True, text=True, check=False).stdout
    for name in set(_LIBRARY.findall(output)):
        path = Path(os.path.normpath(name))  # as in ".../numpy/linalg/../../numpy.libs/..."
        while path.is_symlink():
            yield path
            path = path.parent / path.readlink()
        yield path


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    link = tarfile.TarInfo(name.lstrip("/"))
    link.type = tarfile.SYMTYPE
    link.linkname = target
    link.mode = 0o777
    tar.addfile(link)
