"""Connection to an API server: TLS handshakes and proxies."""

import asyncio
import json
from pathlib import Path

import anyio
import httpx
import pytest

from autotuner.deployers.kubernetes.client import Cluster, connected
from autotuner.deployers.kubernetes.settings import PodSettings
from autotuner.study.failure import FailureCause, TrialFailedError

pytestmark = pytest.mark.anyio


async def test_cancelled_handshake_closes_the_connection() -> None:
    """httpcore closes connections whose handshake fails, but not those where it is cancelled."""
    began = anyio.Event()
    ended = anyio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began.set()
        while await reader.read(1000):
            pass
        ended.set()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, httpx.AsyncClient(base_url=f"https://127.0.0.1:{port}") as http:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Cluster(http, None, "ns", 1.0).get, "/version")
            await began.wait()
            await anyio.sleep(0.1)
            tasks.cancel_scope.cancel()
        with anyio.fail_after(30):
            await ended.wait()


def _kubeconfig(folder: Path, server: str, **cluster: str) -> Path:
    path = folder / "kubeconfig"
    text = {
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "ns"}}],
        "current-context": "c",
    }
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **text}))
    return path


@pytest.mark.parametrize(
    ("no_proxy", "cluster", "proxied"),
    [
        ("", {}, True),
        ("192.0.2.0/24", {}, False),
        ("192.0.2.0/24", {"proxy-url": "http://127.0.0.1:9"}, True),
    ],
)
async def test_proxy_is_chosen_as_by_kubectl(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_proxy: str, cluster: dict[str, str], proxied: bool
) -> None:
    """The failure names the proxy, since the address of the API server alone would mislead."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2@127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    config = _kubeconfig(tmp_path, "https://192.0.2.7:6443", **cluster)  # TEST-NET-1: nothing answers there
    settings = PodSettings(kubeconfig=str(config), api_patience=0)
    async with connected(settings) as cluster_connection:
        assert (cluster_connection.proxy is not None) is proxied
        if proxied:
            with pytest.raises(TrialFailedError) as caught:
                await cluster_connection.get("/version")
            assert caught.value.failure.cause is FailureCause.DEPLOYER_LOST
            assert "http://127.0.0.1:9" in caught.value.failure.message
            assert "NO_PROXY" in caught.value.failure.remedy
            assert "hunter2" not in str(caught.value.failure)


async def test_unusable_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "gopher://proxy")
    with pytest.raises(TrialFailedError) as caught:
        async with connected(PodSettings(kubeconfig=str(_kubeconfig(tmp_path, "https://192.0.2.7:6443")))):
            pass
    failure = caught.value.failure
    assert failure.cause is FailureCause.ENVIRONMENT
    assert "HTTPS_PROXY" in failure.message
    assert "HTTPS_PROXY" in failure.remedy
    assert "\n" not in str(failure.message)
