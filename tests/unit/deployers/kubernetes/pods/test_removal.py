"""Removal of a server's object and its lease Job, by an API server that records the calls."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from autotuner.deployers.kubernetes.client import Cluster
from autotuner.deployers.kubernetes.pods import removal
from autotuner.deployers.ome.service_server import INFERENCE_SERVICES

pytestmark = pytest.mark.anyio


async def silent() -> AsyncIterator[bytes]:
    await asyncio.sleep(3600)
    yield b""


class ApiServer:
    """Has one InferenceService without pods, which is gone after some looks."""

    def __init__(self, looks: int) -> None:
        self.calls: list[tuple[str, str]] = []
        self._looks = looks

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/pods"):
            if "watch" in request.url.params:
                return httpx.Response(200, content=silent())
            return httpx.Response(200, json={"metadata": {"resourceVersion": "1"}, "items": []})
        self.calls.append((request.method, request.url.path.rpartition("/default/")[2]))
        if request.method == "GET":
            self._looks -= 1
            return httpx.Response(200 if self._looks > 0 else 404, json={"metadata": {}})
        return httpx.Response(200, json={})


async def test_lease_is_released_before_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is killed while it waits leaves no Job behind."""
    monkeypatch.setattr(removal, "_LATECOMERS_S", 0.0)
    monkeypatch.setattr(removal, "_POLL_S", 0.0)
    api = ApiServer(looks=3)
    async with httpx.AsyncClient(transport=httpx.MockTransport(api), base_url="http://api") as http:
        await removal.remove_server(Cluster(http, None, "default", 5.0), INFERENCE_SERVICES, "at-1", None, 0.0)
    deletions = [("DELETE", "inferenceservices/at-1"), ("DELETE", "jobs/at-1")]
    assert api.calls[:2] == deletions
    assert api.calls[2:5] == [("GET", "inferenceservices/at-1")] * 3
