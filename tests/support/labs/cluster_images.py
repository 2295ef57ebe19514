"""Images for a cluster without a registry, as archives for ``docker load`` and ``ctr images import``."""

import hashlib
import io
import json
import os
import platform
import shutil
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import autotuner
from support.labs.python_image import environment, write_root
from support.labs.simulated_image import ENTRYPOINT, image_environment, write_image

BUSYBOX = "busybox"
LOADGEN = "autotuner/loadgen:test"
PYTHON_IMAGE = "autotuner/python:test"
_WORKER = "autotuner.benchmarks.loadgen.worker"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def write_simulated(path: Path, names: Sequence[str], simulated: Mapping[str, str]) -> None:
    """Writes the image that simulates SGLang and vLLM.

    Args:
        path: The archive.
        names: Names of the image, such as an engine's default image.
        simulated: The simulator's settings (``GPU: H100``).
    """
    layer = path.with_suffix(".layer")
    write_image(layer)
    config = {"Env": _env_list(image_environment(simulated)), "Entrypoint": list(ENTRYPOINT)}
    write_archive(path, layer, names, config)


def write_loadgen(path: Path, names: Sequence[str] = (LOADGEN,)) -> None:
    """Writes the image of the load generator: its worker, and the program that runs the worker in a pod."""
    layer = path.with_suffix(".layer")
    deployers = Path(autotuner.__file__).parent / "deployers"
    kubernetes = deployers / "kubernetes"
    write_root(layer, _WORKER, [deployers / "__init__.py", kubernetes / "__init__.py", kubernetes / "load"])
    write_archive(path, layer, names, {"Env": _env_list(environment()), "Cmd": ["python3", "-m", _WORKER]})


def write_python(path: Path, names: Sequence[str] = (PYTHON_IMAGE,)) -> None:
    """Writes an image with this Python, also at its path here, and with the scripted servers and load generators."""
    layer = path.with_suffix(".layer")
    package = Path(autotuner.__file__).parent
    write_root(layer, _WORKER, [package / "testing", package / "deployers"])
    with tarfile.open(layer, "a") as tar:
        link = tarfile.TarInfo(sys.executable.lstrip("/"))
        link.type = tarfile.SYMTYPE
        link.linkname = os.path.realpath(sys.executable)
        link.mode = 0o777
        tar.addfile(link)
    write_archive(path, layer, names, {"Env": _env_list(environment())})


def write_busybox(path: Path, names: Sequence[str]) -> None:
    """Writes an image with a shell and its tools (Debian: busybox-static); the default command sleeps."""
    program = shutil.which(BUSYBOX)
    assert program is not None
    layer = path.with_suffix(".layer")
    with tarfile.open(layer, "w") as tar:
        tar.add(Path(program).resolve(), arcname="bin/busybox")
        for tool in ("sh", "cat", "echo", "env", "sleep", "nc", "wget"):
            link = tarfile.TarInfo(f"bin/{tool}")
            link.type = tarfile.SYMTYPE
            link.linkname = "busybox"
            link.mode = 0o777
            tar.addfile(link)
    write_archive(path, layer, names, {"Env": ["PATH=/bin"], "Cmd": ["/bin/sleep", "2147483647"]})


def write_archive(path: Path, layer: Path, names: Sequence[str], config: Mapping[str, Any]) -> None:
    """Writes an archive of an image with one layer.

    Args:
        path: The archive.
        layer: Tar file of the layer; it is deleted.
        names: Names of the image.
        config: ``Env``, ``Entrypoint`` and ``Cmd``, as in github.com/opencontainers/image-spec.
    """
    with layer.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    machine = platform.machine()
    description = json.dumps(
        {
            "architecture": _MACHINES.get(machine, machine),
            "os": "linux",
            "config": dict(config),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(description).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": list(names), "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as tar:
        for member, content in (("manifest.json", manifest), (name, description)):
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        tar.add(layer, arcname="layer.tar")
    layer.unlink()


def image_names(path: Path) -> list[str]:
    """Returns the full names of an archive's images (``docker.io/library/x:1`` for ``x:1``)."""
    with tarfile.open(path) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        names = [name for image in json.load(manifest) for name in image["RepoTags"]]
    return [_full_name(name) for name in names]


def _full_name(name: str) -> str:
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def _env_list(variables: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in variables.items()]
