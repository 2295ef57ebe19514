"""Through the API server into a pod: a short command, or a port of this machine that leads to one of the pod's."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
import httpx
import httpx_ws

from autotuner.deployers.kubernetes.client import Cluster

_PROTOCOL = "v4.channel.k8s.io"
_DATA = 0
_ERROR = 1
_STDOUT = 1
_END = 3
_COMMAND_S = 20.0
_CHUNK = 1 << 16
_FAULTS = (httpx_ws.HTTPXWSException, httpx.TransportError, ssl.SSLError, OSError, ExceptionGroup)


async def output(cluster: Cluster, pod: str, container: str, argv: Sequence[str]) -> bytes | None:
    """What a command in the container writes; None where it fails, or may not be run."""
    params = {"container": container, "command": list(argv), "stdout": "true", "stderr": "true"}
    told = b""
    try:
        with anyio.fail_after(_COMMAND_S):
            async with cluster.tunnel(f"{cluster.path('pods', pod)}/exec", params, _PROTOCOL) as session:
                while True:
                    message = await session.receive_bytes()
                    if message[:1] == bytes([_STDOUT]):
                        told += message[1:]
                    elif message[:1] == bytes([_END]):
                        return told if json.loads(message[1:]).get("status") == "Success" else None
    except (TimeoutError, ValueError, *_FAULTS):
        return None


@asynccontextmanager
async def forwarded(cluster: Cluster, pod: str, port: int) -> AsyncIterator[int]:
    """A port of loopback that leads to the pod's, for the time of the block; each connection is a websocket."""
    path = f"{cluster.path('pods', pod)}/portforward"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with cluster.tunnel(path, {"ports": str(port)}, _PROTOCOL) as session:
                up = asyncio.create_task(_up(reader, session))
                try:
                    await _down(session, writer)
                finally:
                    up.cancel()
                    await asyncio.wait([up])
        except _FAULTS:
            pass  # whoever is connected sees the end of the connection
        finally:
            writer.close()

    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in connections:
            task.cancel()
        with anyio.CancelScope(shield=True):
            if connections:
                await asyncio.wait(connections)
            await server.wait_closed()


async def _up(reader: asyncio.StreamReader, session: httpx_ws.AsyncWebSocketSession) -> None:
    with suppress(*_FAULTS):
        while data := await reader.read(_CHUNK):
            await session.send_bytes(bytes([_DATA]) + data)
        await session.close()


async def _down(session: httpx_ws.AsyncWebSocketSession, writer: asyncio.StreamWriter) -> None:
    """Copies what the pod sends. The first message of each channel is only the port's number."""
    begun: set[int] = set()
    while True:
        message = await session.receive_bytes()
        channel = message[0]
        data = message[1:]
        if channel not in begun:
            begun.add(channel)
        elif channel == _DATA:
            writer.write(data)
            await writer.drain()
        elif channel == _ERROR and data:
            return
