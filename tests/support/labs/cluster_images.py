"""Images for a cluster without a registry, as files that ``docker load`` and ``ctr images import`` take."""

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
    """The image that plays SGLang and vLLM, under the names that a deployer asks for; ``simulated`` are the
    simulator's settings (``GPU: H100``)."""
    layer = path.with_suffix(".layer")
    write_image(layer)
    config = {"Env": _listed(image_environment(simulated)), "Entrypoint": list(ENTRYPOINT)}
    write_archive(path, layer, names, config)


def write_loadgen(path: Path, names: Sequence[str] = (LOADGEN,)) -> None:
    """An image for load from inside: ``python3 -m autotuner.benchmarks.loadgen.worker`` runs in it, and what runs that
    in a pod of a study."""
    layer = path.with_suffix(".layer")
    deployers = Path(autotuner.__file__).parent / "deployers"
    kubernetes = deployers / "kubernetes"
    write_root(layer, _WORKER, [deployers / "__init__.py", kubernetes / "__init__.py", kubernetes / "load"])
    write_archive(path, layer, names, {"Env": _listed(environment()), "Cmd": ["python3", "-m", _WORKER]})


def write_python(path: Path, names: Sequence[str] = (PYTHON_IMAGE,)) -> None:
    """This Python, also under the path that it has here, with the package's scripted servers and load generators."""
    layer = path.with_suffix(".layer")
    package = Path(autotuner.__file__).parent
    write_root(layer, _WORKER, [package / "testing", package / "deployers"])
    with tarfile.open(layer, "a") as tar:
        link = tarfile.TarInfo(sys.executable.lstrip("/"))
        link.type = tarfile.SYMTYPE
        link.linkname = os.path.realpath(sys.executable)
        link.mode = 0o777
        tar.addfile(link)
    write_archive(path, layer, names, {"Env": _listed(environment())})


def write_busybox(path: Path, names: Sequence[str]) -> None:
    """A shell and its tools (Debian: busybox-static); left to itself, it sleeps."""
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
    """One image of one layer, a tar file that is used up, under all ``names``. ``config`` in the words of the image
    specification (github.com/opencontainers/image-spec): Env, Entrypoint, Cmd."""
    with layer.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    machine = platform.machine()
    described = json.dumps(
        {
            "architecture": _MACHINES.get(machine, machine),
            "os": "linux",
            "config": dict(config),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(described).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": list(names), "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as tar:
        for member, content in (("manifest.json", manifest), (name, described)):
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        tar.add(layer, arcname="layer.tar")
    layer.unlink()


def image_names(path: Path) -> list[str]:
    """The images of such a file, under their full names (``docker.io/library/x:1`` for ``x:1``)."""
    with tarfile.open(path) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        told = [name for image in json.load(manifest) for name in image["RepoTags"]]
    return [_full(name) for name in told]


def _full(name: str) -> str:
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def _listed(variables: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in variables.items()]
