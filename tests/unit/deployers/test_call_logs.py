"""API calls of the cluster's and of Docker's clients in the operator's log: method, path and status, and no secret."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from autotuner.deployers.docker.client import connected as docker_connected
from autotuner.deployers.docker.settings import DockerSettings
from autotuner.deployers.kubernetes.client import RefusedError
from autotuner.deployers.kubernetes.client import connected as kubernetes_connected
from autotuner.deployers.kubernetes.settings import PodSettings
from autotuner.testing.scripted_http import Asked, Reply, json_reply, scripted_server

pytestmark = pytest.mark.anyio

TOKEN = "PLANTED-token"


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Callable[[str], Path]:
    def write(server: str) -> Path:
        path = tmp_path / "kubeconfig"
        text = {
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": TOKEN}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "ns"}}],
            "current-context": "c",
        }
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **text}))
        return path

    return write


def records(caplog: pytest.LogCaptureFixture, name: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == f"autotuner.deployers.{name}"]


async def test_each_call_of_the_api_server_is_logged_with_its_status(
    caplog: pytest.LogCaptureFixture, kubeconfig: Callable[[str], Path]
) -> None:
    statuses = [503, 200, 403]

    def reply(_: Asked) -> Reply:
        return json_reply({"kind": "Status", "message": "busy"}, statuses.pop(0))

    caplog.set_level(logging.DEBUG, "autotuner")
    with scripted_server(reply) as server:
        settings = PodSettings(kubeconfig=str(kubeconfig(server.url)), api_patience=30)
        async with kubernetes_connected(settings) as cluster:
            await cluster.get("/api/v1/namespaces/ns/pods", labelSelector="a=b")
            with pytest.raises(RefusedError):
                await cluster.create("/apis/batch/v1/namespaces/ns/jobs", {"env": "PLANTED-body"})
        assert {asked.headers["authorization"] for asked in server.asked} == {f"Bearer {TOKEN}"}
    found = records(caplog, "kubernetes.client")
    calls = [record.args for record in found if record.levelno == logging.DEBUG and len(record.args or ()) > 3]
    assert [(args[0], args[1], args[3]) for args in calls if isinstance(args, tuple)] == [
        ("GET", "/api/v1/namespaces/ns/pods", 503),
        ("GET", "/api/v1/namespaces/ns/pods", 200),
        ("POST", "/apis/batch/v1/namespaces/ns/jobs", 403),
    ]
    assert [record.levelname for record in found].count("INFO") == 1, "the call that was tried again"
    assert "PLANTED" not in caplog.text


async def test_each_call_of_the_docker_engine_is_logged_with_its_status(caplog: pytest.LogCaptureFixture) -> None:
    def reply(asked: Asked) -> Reply:
        if asked.target.endswith("/version"):
            return json_reply({"ApiVersion": "1.41", "MinAPIVersion": "1.24", "Version": "1"})
        return json_reply({"message": "no such container"}, 404)

    caplog.set_level(logging.DEBUG, "autotuner")
    with scripted_server(reply) as server:
        settings = DockerSettings(docker_host=server.url.replace("http://", "tcp://"))
        async with docker_connected(settings) as engine:
            assert (await engine.version())["Version"] == "1"
            assert await engine.inspect("autotuner-x") is None
    calls = [record.args for record in records(caplog, "docker.client")]
    seen = [(args[0], str(args[1]).rpartition("/")[2], args[2]) for args in calls if isinstance(args, tuple)]
    assert seen[-2:] == [("GET", "version", 200), ("GET", "json", 404)]
