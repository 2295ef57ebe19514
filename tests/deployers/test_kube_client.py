"""The connection to an API server where that can be tested without one."""

import asyncio

import anyio
import httpx
import pytest

from autotuner.deployers._kube_client import Cluster

pytestmark = pytest.mark.anyio


async def test_a_handshake_that_is_cancelled_leaves_no_connection() -> None:
    """httpcore closes connections whose handshake fails, but not those where it is cancelled."""
    began, ended = anyio.Event(), anyio.Event()

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
        with anyio.fail_after(5):
            await ended.wait()
