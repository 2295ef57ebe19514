"""Deployer for servers that are already running."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import anyio
import pytest

from autotuner.deployers.external import ExternalDeployer, ExternalSettings
from autotuner.errors import UsageError
from autotuner.plugins import loading
from autotuner.study.check import CheckStatus
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import LaunchPlan, Readiness
from autotuner.study.spec import PluginSpec
from autotuner.testing.deployer_kit import Recorder

pytestmark = pytest.mark.anyio

PLAN = LaunchPlan(command=("never-started",), model="m", readiness=Readiness(timeout_s=2))


class Server(ThreadingHTTPServer):
    """Serves the list of models to requests with the key."""

    daemon_threads = True
    models = ("one",)
    key = ""
    healthy = True


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        allowed = not self.server.key or self.headers.get("Authorization") == f"Bearer {self.server.key}"
        status = 401 if not allowed else 200 if self.server.healthy and self.path == "/v1/models" else 500
        body = json.dumps({"data": [{"id": name} for name in self.server.models]}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as made:
        thread = Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def test_plugin() -> None:
    made = loading.deployer(PluginSpec.model_validate({"kind": "external", "url": "https://host/base/v1/"}))
    assert isinstance(made, ExternalDeployer)
    assert made.settings.url == "https://host/base"
    assert made.launches is False


@pytest.mark.parametrize("wrong", ["host:80", "ftp://x", "http://user:secret@host/", "http://x/?key=secret"])
def test_invalid_url_and_credentials_in_it(wrong: str) -> None:
    with pytest.raises(UsageError):
        loading.deployer(PluginSpec.model_validate({"kind": "external", "url": wrong}))


async def test_endpoint_of_a_running_server(url: str, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    deployer = ExternalDeployer(ExternalSettings(url=f"{url}/v1"))
    async with deployer.deploy(PLAN, recorder.context) as endpoint:
        assert endpoint.url == url
        assert endpoint.argv == ()
        assert endpoint.pids() == frozenset()
        assert await endpoint.identity() == await endpoint.identity()
        assert (await endpoint.identity()).kind == "external"
    assert recorder.ports.leased == set()
    assert [c.status for c in await deployer.preflight([PLAN])] == [CheckStatus.OK]
    assert await deployer.reap(lambda _: True) == []


async def test_identity_changes_with_the_model(server: Server, url: str, tmp_path: Path) -> None:
    async with ExternalDeployer(ExternalSettings(url=url)).deploy(PLAN, Recorder(tmp_path).context) as endpoint:
        before = await endpoint.identity()
        server.models = ("two",)
        assert await endpoint.identity() != before
        server.healthy = False
        with pytest.raises(TrialFailedError) as caught:
            await endpoint.identity()
        assert caught.value.failure.cause is FailureCause.IDENTITY_CHANGED


async def test_died_waits_for_several_missed_checks(server: Server, url: str, tmp_path: Path) -> None:
    settings = ExternalSettings(url=url, health_interval=0.05)
    async with ExternalDeployer(settings).deploy(PLAN, Recorder(tmp_path).context) as endpoint:
        with anyio.move_on_after(0.3) as scope:
            await endpoint.died()
        assert scope.cancelled_caught
        server.healthy = False
        with anyio.fail_after(10):
            failure = await endpoint.died()
    assert failure.cause is FailureCause.NOT_ANSWERING
    assert "HTTP 500" in failure.message


async def test_api_key_from_the_environment(
    server: Server, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.key = "s3cret"
    recorder = Recorder(tmp_path)
    with pytest.raises(TrialFailedError) as caught:
        async with ExternalDeployer(ExternalSettings(url=url)).deploy(PLAN, recorder.context):
            pytest.fail("no key is set")
    assert caught.value.failure.cause is FailureCause.ENVIRONMENT
    assert "api_key_env" in caught.value.failure.remedy
    deployer = ExternalDeployer(ExternalSettings(url=url, api_key_env="THE_KEY"))
    assert [c.name for c in await deployer.preflight([PLAN]) if c.status is CheckStatus.FAIL] == ["api key", "server"]
    monkeypatch.setenv("THE_KEY", "s3cret")
    async with deployer.deploy(PLAN, recorder.context) as endpoint:
        assert "s3cret" not in repr(vars(endpoint)) + repr(await endpoint.identity())
    assert "s3cret" not in repr(await deployer.preflight([PLAN]))


async def test_unreachable_server(tmp_path: Path) -> None:
    deployer = ExternalDeployer(ExternalSettings(url="http://127.0.0.1:9"))
    plan = PLAN.model_copy(update={"readiness": Readiness(timeout_s=0.3)})
    with pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(plan, Recorder(tmp_path).context):
            pytest.fail("no server listens")
    assert caught.value.failure.cause is FailureCause.ENVIRONMENT
    assert [c.status for c in await deployer.preflight([plan])] == [CheckStatus.FAIL]


async def test_proxies_of_the_environment_are_ignored_for_loopback(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with ExternalDeployer(ExternalSettings(url=url)).deploy(PLAN, Recorder(tmp_path).context) as endpoint:
        await endpoint.identity()
