"""What may stand before a server that already runs: keys, headers, certificates, queries, proxies."""

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


async def _refused(settings: ExternalSettings, tmp_path: Path) -> Any:
    with pytest.raises(TrialFailedError) as caught:
        async with ExternalDeployer(settings).deploy(PLAN, Recorder(tmp_path).context):
            pytest.fail("it is not usable")
    return caught.value.failure


async def _used(settings: ExternalSettings, tmp_path: Path) -> None:
    """Everything that the deployer asks a server."""
    deployer = ExternalDeployer(settings)
    assert all(c.status is not CheckStatus.FAIL for c in await deployer.preflight([PLAN]))
    async with deployer.deploy(PLAN, Recorder(tmp_path).context) as endpoint:
        assert (await endpoint.identity()).id


@pytest.mark.parametrize(
    ("reply", "words", "remedy"),
    [
        (json_reply({"error": {"message": "no such user"}}, 401), "HTTP 401: no such user", "api_key_env"),
        (json_reply({"detail": "not yours"}, 403), "HTTP 403: not yours", "api_key_env"),
        (Reply(302, b"", {"Location": "https://login.example/"}), "https://login.example/", "deploy.url"),
        (Reply(200, b"<html><title>Open WebUI</title>", {"Content-Type": "text/html"}), "Open WebUI", "deploy.url"),
    ],
)
async def test_what_waiting_does_not_change_is_named_at_once(
    tmp_path: Path, reply: Reply, words: str, remedy: str
) -> None:
    with scripted_server(lambda _: reply) as server:
        failure = await _refused(ExternalSettings(url=server.url), tmp_path)
        assert failure.cause is FailureCause.ENVIRONMENT
        assert words in failure.message
        assert remedy in failure.remedy
        assert len(server.asked) == 1
        (check,) = await ExternalDeployer(ExternalSettings(url=server.url)).preflight([PLAN])
    assert check.status is CheckStatus.FAIL
    assert words in check.detail
    assert remedy in check.remedy


async def test_a_server_that_repeats_the_key_does_not_make_it_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", "sk-s3cret")

    def echo(asked: Asked) -> Reply:
        return json_reply({"error": f"wrong: {asked.headers}"}, 401)

    with scripted_server(echo) as server:
        failure = await _refused(ExternalSettings(url=server.url, api_key_env="THE_KEY"), tmp_path)
    assert "wrong" in failure.message
    assert "s3cret" not in repr(failure)


@pytest.mark.parametrize(
    ("certificate", "words", "remedy"),
    [
        ("server.pem", "self-signed", "ca_file"),
        ("expired.pem", "expired", "renew"),
        ("otherhost.pem", "mismatch", "host name"),
    ],
)
async def test_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificate: str, words: str, remedy: str
) -> None:
    path = CERTIFICATES / certificate
    if certificate != "server.pem":  # trusted, so that the other fault is what is found
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with scripted_server(certificate=path) as server:
        failure = await _refused(ExternalSettings(url=server.url), tmp_path)
        assert words in failure.message
        assert remedy in failure.remedy
        await _used(ExternalSettings(url=server.url, insecure=True), tmp_path)
        checks = await ExternalDeployer(ExternalSettings(url=server.url, insecure=True)).preflight([PLAN])
    assert [c.name for c in checks if c.status is CheckStatus.WARN] == ["TLS"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_certificate_can_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    path = CERTIFICATES / "server.pem"
    with scripted_server(certificate=path, host=host) as server:
        await _used(ExternalSettings(url=server.url, ca_file=str(path)), tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        await _used(ExternalSettings(url=server.url), tmp_path)


async def test_http_where_tls_is_wanted_and_the_other_way_round(tmp_path: Path) -> None:
    with scripted_server() as server:
        failure = await _refused(ExternalSettings(url=server.url.replace("http:", "https:")), tmp_path)
    assert "does not speak TLS" in failure.message
    assert "http://" in failure.remedy


@pytest.mark.parametrize("name", ["ca_file", "SSL_CERT_FILE"])
async def test_a_missing_file_of_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """OpenSSL ignores it silently, and the message would blame the server."""
    settings = ExternalSettings(url="https://127.0.0.1:9", ca_file="/nowhere.pem" if name == "ca_file" else None)
    if name != "ca_file":
        monkeypatch.setenv(name, "/nowhere.pem")
    (check,) = await ExternalDeployer(settings).preflight([PLAN])
    assert check.status is CheckStatus.FAIL
    assert "/nowhere.pem" in check.detail
    assert "/nowhere.pem" in (await _refused(settings, tmp_path)).message


async def test_headers_query_and_path_are_in_every_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_KEY", "hunter2")
    with scripted_server() as server:
        settings = ExternalSettings(
            url=f"{server.url}/team/v1?api-version=2024", headers={"api-key": "${TEAM_KEY}", "X-Team": "a"}
        )
        await _used(settings, tmp_path)
        assert {a.target for a in server.asked} == {"/team/v1/models?api-version=2024"}
        assert {(a.headers["api-key"], a.headers["x-team"]) for a in server.asked} == {("hunter2", "a")}
    assert "hunter2" not in settings.model_dump_json()


async def test_a_password_in_the_address_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASS_WORD", "hunter2")
    with scripted_server() as server:
        settings = ExternalSettings(url=server.url.replace("://", "://user:${PASS_WORD}@"))
        await _used(settings, tmp_path)
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
def test_credentials_are_refused_in_the_file_and_not_repeated(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        loading.deployer(PluginSpec.model_validate({"kind": "external", **wrong}))
    assert "hunter2" not in str(caught.value)


async def test_a_server_without_a_list_of_models_is_known_by_its_address(tmp_path: Path) -> None:
    def reply(asked: Asked) -> Reply:
        return Reply(200, b"ok") if asked.target == "/health" else json_reply({"detail": "Not Found"}, 404)

    with scripted_server(reply) as server:
        await _used(ExternalSettings(url=server.url, health_path="/health"), tmp_path)


Proxied = Callable[[ScriptedServer], None]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> str:
    """A name that only a proxy can resolve."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return "http://inference.invalid:8000/v1"


async def test_a_host_behind_a_proxy_is_reached_and_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: str
) -> None:
    with scripted_server(openai) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("://", "://user:hunter2@"))
        settings = ExternalSettings(url=elsewhere)
        await _used(settings, tmp_path)
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
