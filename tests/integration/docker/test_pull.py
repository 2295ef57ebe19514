"""Pulls of images from a registry that the test serves."""

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest

from autotuner.deployers.docker.deployer import DockerDeployer
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.trial import Phase
from autotuner.testing.deployer_kit import Recorder
from autotuner.testing.fake_plans import fake_plan
from support.labs.docker_engine import OwnEngine

pytestmark = [pytest.mark.anyio, pytest.mark.docker, pytest.mark.usefixtures("nothing_left")]

Make = Callable[..., DockerDeployer]
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry:
    """A registry that serves one image, ``some/image:2``, over the registry protocol."""

    def __init__(self) -> None:
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            entry = tarfile.TarInfo("weights")
            entry.size = 8 << 20
            tar.addfile(entry, io.BytesIO(os.urandom(entry.size)))
        packed = gzip.compress(layer.getvalue(), 1)
        diffs = {"type": "layers", "diff_ids": [_digest(layer.getvalue())]}
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": diffs}).encode()
        self.blobs = {_digest(data): data for data in (packed, config)}
        kinds = (("image.rootfs.diff.tar.gzip", packed), ("container.image.v1+json", config))
        inner, outer = (
            {"mediaType": f"application/vnd.docker.{kind}", "size": len(data), "digest": _digest(data)}
            for kind, data in kinds
        )
        whole = {"schemaVersion": 2, "mediaType": MANIFEST, "config": outer, "layers": [inner]}
        self.manifest = json.dumps(whole).encode()
        self.requests: list[str] = []
        self.login = ""
        """User and password that it requires; empty: none."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"registry": self}))
        self.name = f"127.0.0.1:{self._server.server_address[1]}/some/image"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def downloads(self) -> int:
        """How often the layer was downloaded."""
        return sum(path.endswith(next(iter(self.blobs))) for path in self.requests)

    def answer(self, path: str) -> tuple[int, str, bytes]:
        self.requests.append(path)
        last = path.rpartition("/")[2]
        if path == "/v2/":
            return 200, "application/json", b"{}"
        if last in self.blobs:
            return 200, "application/octet-stream", self.blobs[last]
        if last in {"2", _digest(self.manifest)}:
            return 200, MANIFEST, self.manifest
        return 404, "application/json", json.dumps({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "no"}]}).encode()


class _Handler(BaseHTTPRequestHandler):
    registry: Registry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status, kind, body = self.registry.answer(self.path)
        wanted = base64.b64encode(self.registry.login.encode()).decode()
        refused = bool(self.registry.login) and self.headers.get("Authorization") != f"Basic {wanted}"
        if refused:
            error = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
            status = 401
            kind = "application/json"
            body = json.dumps(error).encode()
        self.send_response(status)
        if refused:
            self.send_header("WWW-Authenticate", 'Basic realm="test"')
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", _digest(body))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Keeps the test output clean."""


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
def registry(engine: OwnEngine) -> Iterator[Registry]:
    served = Registry()
    yield served
    served.stop()
    engine.api("DELETE", f"/images/{served.name}:2", params={"force": "true"})


async def test_missing_image_is_pulled_once_with_progress(make: Make, registry: Registry, tmp_path: Path) -> None:
    deployer = make(image=registry.name, image_tag="2", pull="missing")
    recorders = [Recorder(tmp_path / str(i)) for i in range(2)]
    notes: list[str] = []
    async with anyio.create_task_group() as tasks:

        async def trial(recorder: Recorder) -> None:
            async with deployer.deploy(fake_plan(), replace(recorder.context, note=notes.append)) as endpoint:
                assert f"{registry.name}:2" in endpoint.command

        for recorder in recorders:
            tasks.start_soon(trial, recorder)
    phases = sorted((r.phases for r in recorders), key=len)
    assert phases == [[Phase.LAUNCHING, Phase.LOADING], [Phase.PULLING, Phase.LAUNCHING, Phase.LOADING]]
    assert registry.downloads == 1
    log = next(t for r in recorders if "pulling" in (t := (r.context.folder / "server.log").read_text()))
    for line in (f"pulling {registry.name}:2", "Downloading", "0.01 of 0.01 GB downloaded", "Pull complete"):
        assert line in log
    assert log.index("Pull complete") < log.index("fake_server:"), "the server's log follows"
    assert notes[0] == f"pulling {registry.name}:2"
    assert any("GB downloaded" in line for line in notes)


async def test_pull_always_is_once_per_run(make: Make, registry: Registry, tmp_path: Path) -> None:
    for _ in range(2):
        before = len(registry.requests)
        deployer = make(image=f"{registry.name}:2", pull="always")
        for number in range(2):
            recorder = Recorder(tmp_path / str(number))
            async with deployer.deploy(fake_plan(), recorder.context):
                assert (Phase.PULLING in recorder.phases) == (number == 0)
        assert len(registry.requests) > before
    assert registry.downloads == 1, "the layer is present and is not downloaded again"


@pytest.mark.parametrize("tag", ["3", "2"])
async def test_image_that_cannot_be_pulled(make: Make, registry: Registry, recorder: Recorder, tag: str) -> None:
    if tag == "2":
        registry.stop()
    deployer = make(image=registry.name, image_tag=tag, pull="missing")
    with pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(fake_plan(), recorder.context):
            pytest.fail("there is no image")
    failure = caught.value.failure
    assert failure.cause is FailureCause.IMAGE_MISSING
    assert f"docker pull {registry.name}:{tag}" in failure.remedy
    assert f"{registry.name}:{tag}" in failure.message
    assert recorder.phases == [Phase.PULLING]


async def test_private_registry_with_saved_credentials(
    make: Make, registry: Registry, recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.login = "me:hunter2"
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    deployer = make(image=registry.name, image_tag="2", pull="missing")
    with pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(fake_plan(), recorder.context):
            pytest.fail("not logged in")
    assert caught.value.failure.cause is FailureCause.IMAGE_MISSING
    assert "docker login" in caught.value.failure.remedy
    auth = base64.b64encode(b"me:hunter2").decode()
    host = registry.name.partition("/")[0]
    (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    async with deployer.deploy(fake_plan(), Recorder(tmp_path / "second").context):
        pass
    assert "hunter2" not in (tmp_path / "second" / "server.log").read_text()
