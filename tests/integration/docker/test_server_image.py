"""The image of the tuner: built from its Dockerfile, and run as Compose and Kubernetes run it."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from autotuner import __version__
from autotuner.cli.server.commands import DEFAULT_PORT
from support.labs.docker_engine import OwnEngine
from support.labs.server_image import BASE, DOCKERFILE, ROOT, build, build_wheel, load_base

pytestmark = pytest.mark.docker

IMAGE = "autotuner-server-test:1"
SCRATCH = "/scratch"
HARDENED = {"CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges:true"], "ReadonlyRootfs": True}


@pytest.fixture
def image(engine: OwnEngine, tmp_path: Path) -> Iterator[str]:
    """The image, which is removed with its base."""
    text = (ROOT / DOCKERFILE).read_text()
    (extras,) = re.findall(r"ARG EXTRAS=(\S+)", text)
    load_base(engine, tmp_path, frozenset(extras.split(",")))
    wheel = build_wheel(tmp_path)
    said = build(engine, wheel, IMAGE)
    assert "Successfully tagged" in said, said
    yield IMAGE
    for name in (IMAGE, BASE):
        engine.api("DELETE", f"/images/{name}", params={"force": "true"}).raise_for_status()


@contextmanager
def container(engine: OwnEngine, volume: str, *command: str, entrypoint: str | None = None) -> Iterator[str]:
    """A started container, which is removed at the end."""
    # Not /tmp: this checkout, whose packages are in the base, may be below it.
    host: dict[str, Any] = {**HARDENED, "Binds": [f"{volume}:/var/lib/autotuner"], "Tmpfs": {SCRATCH: ""}}
    body: dict[str, Any] = {
        "Image": IMAGE,
        "Env": [f"TMPDIR={SCRATCH}"],
        "HostConfig": {**host, "NetworkMode": engine.settings()["network"]},
    }
    if command:
        body["Cmd"] = list(command)
    if entrypoint:
        body["Entrypoint"] = [entrypoint]
    made = engine.api("POST", "/containers/create", json=body)
    assert made.is_success, made.text
    name = made.json()["Id"]
    try:
        engine.api("POST", f"/containers/{name}/start").raise_for_status()
        yield name
    finally:
        engine.api("DELETE", f"/containers/{name}", params={"force": "true", "v": "true"}).raise_for_status()


def output(engine: OwnEngine, volume: str, *command: str, entrypoint: str | None = None) -> tuple[int, str]:
    """Exit code and output of a command in the image."""
    with container(engine, volume, *command, entrypoint=entrypoint) as name:
        code = engine.api("POST", f"/containers/{name}/wait").json()["StatusCode"]
        logs = engine.api("GET", f"/containers/{name}/logs", params={"stdout": "true", "stderr": "true"}).content
    # Each piece has a header of eight bytes.
    return code, re.sub(rb"[\x00-\x02]\x00{3}.{4}", b"", logs, flags=re.DOTALL).decode()


@pytest.mark.usefixtures("nothing_left", "image")
def test_the_image_serves_and_generates_load(engine: OwnEngine) -> None:
    volume = f"server-{uuid4().hex[:8]}"
    try:
        assert output(engine, volume, "version") == (0, f"{__version__}\n")
        code, said = output(engine, volume)
        assert code != 0
        assert "token" in said, "an address for others needs a token"
        (secret,) = re.findall(r"atk_\S+", output(engine, volume, "token", "create", "me")[1])
        # What load generators in a cluster run.
        module = "import autotuner.deployers.kubernetes.load.worker"
        assert output(engine, volume, "-c", module, entrypoint="python3") == (0, "")
        with container(engine, volume) as name:
            networks = engine.inspect(name)["NetworkSettings"]["Networks"]
            (address,) = {network["IPAddress"] for network in networks.values()}
            # Through a port of this machine, as Compose publishes it, the server is 127.0.0.1 for browsers.
            named = {"Host": f"127.0.0.1:{DEFAULT_PORT}"}
            url = f"http://{address}:{DEFAULT_PORT}"
            with httpx.Client(base_url=url, headers=named, trust_env=False) as client:
                until = time.monotonic() + 60
                while not ready(client):
                    assert time.monotonic() < until, "the server does not become ready"
                    time.sleep(0.2)
                assert client.get("/").text.startswith("<!doctype html>")
                studies = client.get("/api/v1/studies", headers={"Authorization": f"Bearer {secret}"})
                assert (studies.status_code, studies.json()["items"]) == (200, [])
            processes = engine.api("GET", f"/containers/{name}/top", params={"ps_args": "-eo uid,pid"}).json()
            assert {process[0] for process in processes["Processes"]} == {"10001"}
    finally:
        engine.api("DELETE", f"/volumes/{volume}", params={"force": "true"})


def ready(client: httpx.Client) -> bool:
    """Whether the server answers that it is ready."""
    try:
        return client.get("/readyz").is_success
    except httpx.TransportError:
        return False
