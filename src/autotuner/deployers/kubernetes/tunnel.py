"""Access to a pod through the API server: short commands, and forwarding of a local port."""

import json
import ssl
from collections.abc import Sequence
from contextlib import suppress

import anyio
import httpx
import httpx_ws
from anyio.abc import Listener, SocketAttribute, SocketStream

from autotuner.deployers.kubernetes.client import Cluster
from autotuner.deployers.shared.background import Background

_PROTOCOL = "v4.channel.k8s.io"
_DATA = 0
_ERROR = 1
_STDOUT = 1
_END = 3
_COMMAND_S = 20.0
_FAULTS = (
    httpx_ws.HTTPXWSException,
    httpx.TransportError,
    ssl.SSLError,
    OSError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    ExceptionGroup,
)


async def output(cluster: Cluster, pod: str, container: str, argv: Sequence[str]) -> bytes | None:
    """Runs a command in the container and returns its stdout; None if it fails or is not allowed."""
    params = {"container": container, "command": list(argv), "stdout": "true", "stderr": "true"}
    stdout = b""
    try:
        with anyio.fail_after(_COMMAND_S):
            async with cluster.tunnel(f"{cluster.path('pods', pod)}/exec", params, _PROTOCOL) as session:
                while True:
                    message = await session.receive_bytes()
                    if message[:1] == bytes([_STDOUT]):
                        stdout += message[1:]
                    elif message[:1] == bytes([_END]):
                        return stdout if json.loads(message[1:]).get("status") == "Success" else None
    except (TimeoutError, ValueError, *_FAULTS):
        return None


async def forward(cluster: Cluster, pod: str, port: int, tasks: Background) -> int:
    """Opens a loopback port that forwards to the pod's port, and returns it. Each connection is a websocket.

    The port stays open as one of ``tasks``.
    """
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    tasks.start(_serve, listener, cluster, f"{cluster.path('pods', pod)}/portforward", port)
    return int(listener.extra(SocketAttribute.local_port))  # noqa: S610 - no Django here


async def _serve(listener: Listener[SocketStream], cluster: Cluster, path: str, port: int) -> None:
    async def copy(client: SocketStream) -> None:
        # The client sees a fault of the tunnel as the end of its connection.
        async with client:
            with suppress(*_FAULTS):
                async with (
                    cluster.tunnel(path, {"ports": str(port)}, _PROTOCOL) as session,
                    anyio.create_task_group() as both,
                ):
                    both.start_soon(_up, client, session)
                    await _down(session, client)
                    both.cancel_scope.cancel()

    async with listener:
        await listener.serve(copy)


async def _up(client: SocketStream, session: httpx_ws.AsyncWebSocketSession) -> None:
    with suppress(*_FAULTS):
        async for data in client:
            await session.send_bytes(bytes([_DATA]) + data)
        await session.close()


async def _down(session: httpx_ws.AsyncWebSocketSession, client: SocketStream) -> None:
    """Copies what the pod sends. The first message of each channel contains only the port number."""
    opened: set[int] = set()
    while True:
        message = await session.receive_bytes()
        channel = message[0]
        data = message[1:]
        if channel not in opened:
            opened.add(channel)
        elif channel == _DATA:
            await client.send(data)
        elif channel == _ERROR and data:
            return
