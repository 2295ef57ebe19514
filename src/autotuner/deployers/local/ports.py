"""Leases of this machine's ports.

A server binds its port after loading, seconds or minutes after the port was chosen. A lease keeps every other tuner on
this machine away from it, but any other program may take it in the meantime. That is not a fault of the machine: the
server is launched again on another port. While all ports of the range are in use, the trial waits, as for a GPU.
"""

import errno
import socket
import time
from contextlib import AsyncExitStack

import anyio

from autotuner.deployers.local import procfs
from autotuner.plugins.deployer import DeployContext
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.trial import Phase

TRIES = 8
"""Launches of one trial that may lose their port."""
WAIT_S = 600.0
"""How long a trial waits for a free port in its range."""
_POLL_S = 2.0


class Ports:
    """The ports of one deployment. Each launch gets another one."""

    def __init__(self, host: str, ports: tuple[int, int], context: DeployContext) -> None:
        self._host = host
        self._range = range(ports[0], ports[1] + 1)
        self._context = context
        self._lost: set[int] = set()

    async def lease(self, stack: AsyncExitStack) -> int:
        """A free port, leased until the stack is closed. Raises ``TrialFailedError`` (``port_unavailable``) if there is
        none for :data:`WAIT_S` seconds."""
        until = time.monotonic() + WAIT_S
        waits = False
        while True:
            try:
                return await self._try(stack)
            except TrialFailedError as error:
                if error.failure.cause is not FailureCause.PORT_UNAVAILABLE or time.monotonic() >= until:
                    raise
            self._lost.clear()  # the processes that took them may have ended
            if not waits:
                waits = True
                self._context.on_phase(Phase.QUEUED)
                self._context.note(f"waiting for a free port of {self._range[0]} to {self._range[-1]}")
            await anyio.sleep(_POLL_S)

    async def _try(self, stack: AsyncExitStack) -> int:
        """Keeps unsuitable ports leased while it searches, so that each is checked once."""
        async with AsyncExitStack() as passed_over:
            while True:
                async with AsyncExitStack() as found:
                    port = await found.enter_async_context(self._context.lease_port(self._range))
                    good = port not in self._lost and self._free(port)
                    await (stack if good else passed_over).enter_async_context(found.pop_all())
                if good:
                    return port

    def _free(self, port: int) -> bool:
        """Whether a server could bind it now. Raises ``TrialFailedError`` if no server ever could."""
        if procfs.foreign_listener(self._host, port, set()):
            return False
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT does not block it
            try:
                probe.bind((self._host, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return False
                message = f"cannot listen on {self._host}:{port}: {error.strerror}"
                remedy = "correct deploy.host and deploy.ports"
                failure = Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy)
                raise TrialFailedError(failure) from error
        return True

    def lost(self, port: int | None, failure: Failure) -> None:
        """Remembers a port that another process took before the server could bind it; None if the container engine
        chose the port."""
        if port is not None:
            self._lost.add(port)
        self._context.note(f"{failure.message}; relaunching on another port")
