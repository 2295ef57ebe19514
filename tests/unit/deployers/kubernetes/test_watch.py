"""Watches, calls and logs over connections to an API server that fails as scripted."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import httpx
import pytest

from autotuner.deployers.kubernetes import logs
from autotuner.deployers.kubernetes.client import Cluster, RefusedError
from autotuner.deployers.kubernetes.pods import removal
from autotuner.deployers.kubernetes.watch import ResourceWatch
from autotuner.study.failure import FailureCause, TrialFailedError

pytestmark = pytest.mark.anyio

Response = Callable[[httpx.Request], httpx.Response]


def pod(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"uid": name, "name": name, "resourceVersion": str(version)}}


def listed(version: int, *names: str) -> httpx.Response:
    items = [pod(name, version) for name in names]
    return httpx.Response(200, json={"metadata": {"resourceVersion": str(version)}, "items": items})


def change(kind: str, item: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


async def stream_body(*lines: bytes, then: str = "ends") -> AsyncIterator[bytes]:
    for line in lines:
        yield line
    if then == "hangs":
        await asyncio.sleep(3600)
    if then == "breaks":
        raise httpx.ReadError("connection reset")


def streamed(*lines: bytes, then: str = "ends") -> httpx.Response:
    return httpx.Response(200, content=stream_body(*lines, then=then))


class Script:
    """Responds to requests in order and records them; the last response is repeated."""

    def __init__(self, *responses: httpx.Response | Exception | Response) -> None:
        self._responses = list(responses)
        self.requests = list[httpx.Request]()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        response = self._responses.pop(0) if len(self._responses) > 1 else self._responses[0]
        if isinstance(response, Exception):
            raise response
        return response if isinstance(response, httpx.Response) else response(request)

    def cluster(self, patience_s: float = 5.0) -> Cluster:
        http = httpx.AsyncClient(transport=httpx.MockTransport(self), base_url="http://api")
        return Cluster(http, None, "default", patience_s)


async def wait_for_pods(watch: ResourceWatch, *names: str) -> None:
    with anyio.fail_after(30):
        await watch.until(lambda: True if set(watch.objects) == set(names) else None)


@pytest.mark.parametrize(
    "expired",
    [
        streamed(change("ERROR", {"code": 410, "reason": "Expired", "message": "too old resource version: 5 (9)"})),
        httpx.Response(410, json={"reason": "Gone", "message": "too old"}),
    ],
)
async def test_expired_watch_lists_again(expired: httpx.Response) -> None:
    script = Script(listed(5, "a"), expired, listed(9, "b"), streamed(then="hangs"))
    async with ResourceWatch(script.cluster(), "/pods") as watch:
        await wait_for_pods(watch, "b")
        await asyncio.sleep(0)
    assert [dict(r.url.params).get("resourceVersion") for r in script.requests[:3]] == [None, "5", None]


async def test_interrupted_watch_resumes() -> None:
    script = Script(
        listed(5, "a"),
        streamed(change("ADDED", pod("b", 6)), change("BOOKMARK", pod("", 8)), then="breaks"),
        httpx.ConnectError("refused"),
        httpx.Response(503, json={"message": "starting"}),
        streamed(change("DELETED", pod("a", 9)), then="hangs"),
    )
    async with ResourceWatch(script.cluster(), "/pods", labels="x=y") as watch:
        await wait_for_pods(watch, "b")
    versions = [dict(r.url.params).get("resourceVersion") for r in script.requests]
    assert versions == [None, "5", "8", "8", "8"]
    assert {dict(r.url.params)["labelSelector"] for r in script.requests} == {"x=y"}


async def test_watch_gives_up_on_a_lost_api_server() -> None:
    script = Script(listed(5), httpx.ConnectError("refused"))
    async with ResourceWatch(script.cluster(patience_s=0.2), "/pods") as watch:
        with anyio.fail_after(30), pytest.raises(TrialFailedError) as caught:
            await watch.until(lambda: None)
    assert caught.value.failure.cause is FailureCause.DEPLOYER_LOST
    assert "refused" in caught.value.failure.message
    assert len(script.requests) < 10, "the pauses grow"


async def test_watch_that_ends_at_once_is_restarted_with_pauses() -> None:
    script = Script(listed(5), lambda _: streamed())
    async with ResourceWatch(script.cluster(), "/pods"):
        await anyio.sleep(1)
    assert len(script.requests) < 12


async def test_revoked_permission() -> None:
    script = Script(listed(5), httpx.Response(403, json={"message": "pods is forbidden"}))
    async with ResourceWatch(script.cluster(), "/pods") as watch:
        with anyio.fail_after(30), pytest.raises(TrialFailedError) as caught:
            await watch.until(lambda: None)
    assert caught.value.failure.cause is FailureCause.ENVIRONMENT
    assert "pods is forbidden" in caught.value.failure.message
    assert len(script.requests) == 2, "not tried again"


async def test_calls_survive_transient_faults() -> None:
    webhook = {"message": 'failed calling webhook "x": connection refused'}
    script = Script(
        httpx.ReadError("reset"),
        httpx.Response(429, json={"message": "slow down"}, headers={"Retry-After": "0"}),
        httpx.Response(500, json=webhook),
        httpx.Response(409, json={"reason": "AlreadyExists", "message": "x exists"}),
        httpx.Response(200, json={"metadata": {"uid": "u"}}),
    )
    created = await script.cluster().create("/jobs", {"metadata": {"name": "x"}})
    assert created["metadata"]["uid"] == "u", "created by the first attempt, whose response was lost"
    assert [r.method for r in script.requests] == ["POST"] * 4 + ["GET"]
    assert dict(script.requests[0].url.params)["fieldValidation"] == "Strict"


async def test_existing_name_is_refused() -> None:
    exists = httpx.Response(409, json={"reason": "AlreadyExists", "message": "x exists"})
    script = Script(exists, httpx.Response(200, json={"metadata": {"uid": "another"}}))
    with pytest.raises(RefusedError) as caught:
        await script.cluster().create("/jobs", {"metadata": {"name": "x"}})
    assert (caught.value.code, caught.value.reason, caught.value.message) == (409, "AlreadyExists", "x exists")


async def test_log_lines_arrive_once_over_broken_connections() -> None:
    """Lines within one second, lines with equal timestamps, a truncated line, and lines after the container's end."""
    at = [f"2026-11-25T03:00:0{n}.5Z" for n in range(5)]
    lines = [f"{at[0]} a\n", f"{at[1]} b\n", f"{at[1]} b\n", f"{at[1]} c\n", f"{at[2]} d\n"]
    data = [line.encode() for line in lines]
    script = Script(
        streamed(*data[:3], b"2026-11-25T03:00:01.5Z to", then="breaks"),
        httpx.ConnectError("refused"),
        streamed(*data[1:4], then="ends"),
        lambda _: streamed(*data[1:], then="ends"),
    )

    def has_ended() -> bool:
        return len(script.requests) >= 3

    received = [line async for line in logs.follow(script.cluster(), "p", "c", has_ended)]
    assert received == [b"a", b"b", b"b", b"c", b"d"]
    assert dict(script.requests[1].url.params)["sinceTime"] == "2026-11-25T03:00:01Z"


async def test_log_without_permission() -> None:
    script = Script(httpx.Response(403, json={"message": "pods/log is forbidden"}))
    with pytest.raises(TrialFailedError) as caught:
        await anext(logs.follow(script.cluster(), "p", "c", lambda: False))
    assert caught.value.failure.cause is FailureCause.ENVIRONMENT
    assert "pods/log is forbidden" in caught.value.failure.message
    assert len(script.requests) == 1, "not tried again"


async def test_pods_that_end_during_the_removal() -> None:
    """The removal reads each pod's node; meanwhile, the watch changes the pods."""

    def node(_: httpx.Request) -> httpx.Response:
        pods.objects.clear()
        return httpx.Response(200, json={"status": {"conditions": [{"type": "Ready", "status": "True"}]}})

    script = Script(node)
    pods = ResourceWatch(script.cluster(), "/pods")
    pods.objects = {name: {**pod(name, 1), "spec": {"nodeName": "n"}} for name in ("a", "b")}
    assert await removal._stuck(script.cluster(), "/jobs/x", pods, late=False) is None
    assert len(script.requests) == 2
