"""The image of the tuner, built from its Dockerfile by a Docker engine without a network.

Its base has this Python, a shell, and what the wheel requires, copied from what is installed here, so that neither a
registry nor a package index is needed.
"""

import io
import json
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import httpx
from packaging.requirements import Requirement

from support.labs.docker_engine import OwnEngine
from support.labs.python_image import write_root

ROOT = Path(__file__).parents[3]
DOCKERFILE = "packaging/server/Dockerfile"
PROJECT = "llm-inference-autotuner"
BASE = "autotuner-python:1"
_APPLETS = ("sh", "mkdir", "chown", "rm")
_PIP = '#!/bin/sh\nexec python3 -m pip "$@"\n'


def build_wheel(folder: Path) -> Path:
    """Builds the wheel of this checkout. Raises ``CalledProcessError`` if the web UI was not built."""
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def load_base(engine: OwnEngine, folder: Path, extras: frozenset[str]) -> None:
    """Loads the base image; ``extras`` are those that the Dockerfile installs."""
    root = folder / "base.tar"
    required = [distribution("pip"), *_required(distribution(PROJECT), extras, set())]
    write_root(root, "pip", sorted({file for one in required for file in _files(one)}))
    with tarfile.open(root, "a") as tar:
        tar.add(shutil.which("busybox") or "busybox", arcname="bin/busybox")
        for applet in _APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type = tarfile.SYMTYPE
            link.linkname = "busybox"
            tar.addfile(link)
        _add(tar, "usr/local/bin/pip", _PIP.encode(), 0o755)
    variables = {
        "PATH": f"/usr/local/bin:{sys.base_prefix}/bin:/usr/bin:/bin",
        "PYTHONHOME": sys.base_prefix,
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "PIP_NO_INDEX": "1",
    }
    name, _, tag = BASE.partition(":")
    changes = [f"ENV {key}={value}" for key, value in variables.items()]
    params = {"fromSrc": "-", "repo": name, "tag": tag, "changes": changes}
    with root.open("rb") as content:
        answer = engine.api("POST", "/images/create", params=params, content=content)
    assert answer.is_success, answer.text
    root.unlink()


def build(engine: OwnEngine, wheel: Path, tag: str) -> str:
    """Builds the image as its Dockerfile says, without a network. Returns what the engine reports, errors included."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        tar.add(ROOT / DOCKERFILE, arcname=DOCKERFILE)
        tar.add(wheel, arcname=f"dist/{wheel.name}")
    answer = engine.api(
        "POST",
        "/build",
        params={
            "t": tag,
            "dockerfile": DOCKERFILE,
            "buildargs": json.dumps({"BASE": BASE}),
            "networkmode": "none",
            "rm": "true",
            "forcerm": "true",
        },
        content=context.getvalue(),
        headers={"Content-Type": "application/x-tar"},
        timeout=httpx.Timeout(300),
    )
    lines = [json.loads(line) for line in answer.raise_for_status().text.splitlines() if line]
    return "".join(str(line.get("error") or line.get("stream") or "") for line in lines)


def _required(one: Distribution, extras: frozenset[str], known: set[str]) -> Iterator[Distribution]:
    """Yields the distributions that a distribution with extras requires, at any depth."""
    for text in one.requires or ():
        wanted = Requirement(text)
        marker = wanted.marker
        applies = marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))
        key = f"{wanted.name.lower()} {sorted(wanted.extras)}"
        if applies and key not in known:
            known.add(key)
            found = distribution(wanted.name)
            yield found
            yield from _required(found, frozenset(wanted.extras), known)


def _files(one: Distribution) -> Iterator[Path]:
    """Yields a distribution's files below ``site-packages``; commands are left out."""
    for file in one.files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            place = Path(str(one.locate_file(file)))
            if place.is_file():
                yield place


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = mode
    tar.addfile(entry, io.BytesIO(content))
