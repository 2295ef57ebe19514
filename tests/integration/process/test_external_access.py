"""Access to servers that are already running: keys, headers, certificates, queries and proxies."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autotuner.deployers.external import ExternalDeployer, ExternalSettings
from autotuner.errors import UsageError
from autotuner.plugins import loading
from autotuner.study.check import CheckStatus
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import LaunchPlan, Readiness
from autotuner.study.spec import PluginSpec
from autotuner.testing.deployer_kit import Recorder
from autotuner.testing.scripted_http import Asked, Reply, ScriptedServer, json_reply, openai, scripted_server

pytestmark = pytest.mark.anyio

PLAN = LaunchPlan(command=("never-started",), model="m", readiness=Readiness(timeout_s=30))
CERTIFICATES = Path(__file__).parents[2] / "support" / "certificates"


async def _failed_deploy(settings: ExternalSettings, tmp_path: Path) -> Any:
    with pytest.raises(TrialFailedError) as caught:
        async with ExternalDeployer(settings).deploy(PLAN, Recorder(tmp_path).context):
            pytest.fail("the server must not be usable")
    return caught.value.failure


async def _use(settings: ExternalSettings, tmp_path: Path) -> None:
    """Makes every request that the deployer sends to a server."""
    deployer = ExternalDeployer(settings)
    assert all(c.status is not CheckStatus.FAIL for c in await deployer.preflight([PLAN]))
    async with deployer.deploy(PLAN, Recorder(tmp_path).context) as endpoint:
        assert (await endpoint.identity()).id


@pytest.mark.parametrize(
    ("reply", "message", "remedy"),
    [
        (json_reply({"error": {"message": "no such user"}}, 401), "HTTP 401: no such user", "api_key_env"),
        (json_reply({"detail": "forbidden"}, 403), "HTTP 403: forbidden", "api_key_env"),
        (Reply(302, b"", {"Location": "https://login.example/"}), "https://login.example/", "deploy.url"),
        (Reply(200, b"<html><title>Open WebUI</title>", {"Content-Type": "text/html"}), "Open WebUI", "deploy.url"),
    ],
)
async def test_permanent_faults_are_reported_at_once(tmp_path: Path, reply: Reply, message: str, remedy: str) -> None:
    with scripted_server(lambda _: reply) as server:
        failure = await _failed_deploy(ExternalSettings(url=server.url), tmp_path)
        assert failure.cause is FailureCause.ENVIRONMENT
        assert message in failure.message
        assert remedy in failure.remedy
        assert len(server.asked) == 1
        (check,) = await ExternalDeployer(ExternalSettings(url=server.url)).preflight([PLAN])
    assert check.status is CheckStatus.FAIL
    assert message in check.detail
    assert remedy in check.remedy


async def test_key_in_a_response_is_redacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "sk-s3cret")

    def echo(asked: Asked) -> Reply:
        return json_reply({"error": f"wrong: {asked.headers}"}, 401)

    with scripted_server(echo) as server:
        failure = await _failed_deploy(ExternalSettings(url=server.url, api_key_env="THE_KEY"), tmp_path)
    assert "wrong" in failure.message
    assert "s3cret" not in repr(failure)


@pytest.mark.parametrize(
    ("certificate", "message", "remedy"),
    [
        ("server.pem", "self-signed", "ca_file"),
        ("expired.pem", "expired", "renew"),
        ("otherhost.pem", "mismatch", "host name"),
    ],
)
async def test_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificate: str, message: str, remedy: str
) -> None:
    path = CERTIFICATES / certificate
    if certificate != "server.pem":  # trusted, so that only the other fault remains
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with scripted_server(certificate=path) as server:
        failure = await _failed_deploy(ExternalSettings(url=server.url), tmp_path)
        assert message in failure.message
        assert remedy in failure.remedy
        await _use(ExternalSettings(url=server.url, insecure=True), tmp_path)
        checks = await ExternalDeployer(ExternalSettings(url=server.url, insecure=True)).preflight([PLAN])
    assert [c.name for c in checks if c.status is CheckStatus.WARN] == ["TLS"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_trusted_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    path = CERTIFICATES / "server.pem"
    with scripted_server(certificate=path, host=host) as server:
        await _use(ExternalSettings(url=server.url, ca_file=str(path)), tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        await _use(ExternalSettings(url=server.url), tmp_path)


async def test_https_url_of_an_http_server(tmp_path: Path) -> None:
    with scripted_server() as server:
        failure = await _failed_deploy(ExternalSettings(url=server.url.replace("http:", "https:")), tmp_path)
    assert "does not speak TLS" in failure.message
    assert "http://" in failure.remedy


@pytest.mark.parametrize("name", ["ca_file", "SSL_CERT_FILE"])
async def test_missing_certificate_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """OpenSSL ignores a missing file, and its message would then blame the server."""
    settings = ExternalSettings(url="https://127.0.0.1:9", ca_file="/nowhere.pem" if name == "ca_file" else None)
    if name != "ca_file":
        monkeypatch.setenv(name, "/nowhere.pem")
    (check,) = await ExternalDeployer(settings).preflight([PLAN])
    assert check.status is CheckStatus.FAIL
    assert "/nowhere.pem" in check.detail
    assert "/nowhere.pem" in (await _failed_deploy(settings, tmp_path)).message


async def test_headers_query_and_path_of_every_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_KEY", "hunter2")
    with scripted_server() as server:
        settings = ExternalSettings(
            url=f"{server.url}/team/v1?api-version=2024", headers={"api-key": "${TEAM_KEY}", "X-Team": "a"}
        )
        await _use(settings, tmp_path)
        assert {a.target for a in server.asked} == {"/team/v1/models?api-version=2024"}
        assert {(a.headers["api-key"], a.headers["x-team"]) for a in server.asked} == {("hunter2", "a")}
    assert "hunter2" not in settings.model_dump_json()


async def test_password_in_the_url_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASS_WORD", "hunter2")
    with scripted_server() as server:
        settings = ExternalSettings(url=server.url.replace("://", "://user:${PASS_WORD}@"))
        await _use(settings, tmp_path)
        assert all(a.headers["authorization"].startswith("Basic ") for a in server.asked)
        endpoint_checks = await ExternalDeployer(settings).preflight([PLAN])
    assert "hunter2" not in repr(endpoint_checks) + settings.model_dump_json()
    monkeypatch.delenv("PASS_WORD")
    (check,) = await ExternalDeployer(settings).preflight([PLAN])
    assert "PASS_WORD" in check.detail


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "https://user:hunter2@h/v1"},
        {"url": "https://h/v1?api-key=hunter2"},
        {"url": "https://h", "headers": {"Authorization": "Bearer hunter2"}},
        {"url": "https://h", "headers": {"X": "hunter2\r\nY: z"}},
        {"url": "https://h", "insecure": True, "ca_file": "x.pem"},
    ],
)
def test_credentials_in_the_study_file_are_refused_and_redacted(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        loading.deployer(PluginSpec.model_validate({"kind": "external", **wrong}))
    assert "hunter2" not in str(caught.value)


async def test_server_without_a_model_list(tmp_path: Path) -> None:
    def reply(asked: Asked) -> Reply:
        return Reply(200, b"ok") if asked.target == "/health" else json_reply({"detail": "Not Found"}, 404)

    with scripted_server(reply) as server:
        await _use(ExternalSettings(url=server.url, health_path="/health"), tmp_path)


Proxied = Callable[[ScriptedServer], None]


@pytest.fixture
def proxied_url(monkeypatch: pytest.MonkeyPatch) -> str:
    """A URL whose host only a proxy can resolve."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return "http://inference.invalid:8000/v1"


async def test_host_behind_a_proxy_is_reached_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxied_url: str
) -> None:
    with scripted_server(openai) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("://", "://user:hunter2@"))
        settings = ExternalSettings(url=proxied_url)
        await _use(settings, tmp_path)
        assert {a.target for a in proxy.asked} == {"http://inference.invalid:8000/v1/models"}
        checks = await ExternalDeployer(settings).preflight([PLAN])
        assert [c.name for c in checks if c.status is CheckStatus.WARN] == ["proxy"]
    (check,) = await ExternalDeployer(settings).preflight([PLAN])
    assert check.status is CheckStatus.FAIL
    assert "HTTP_PROXY" in check.detail
    assert "NO_PROXY" in check.remedy
    assert "hunter2" not in repr([*checks, check])
    monkeypatch.setenv("NO_PROXY", ".invalid")
    (check,) = await ExternalDeployer(settings).preflight([PLAN])
    assert "HTTP_PROXY" not in check.detail
