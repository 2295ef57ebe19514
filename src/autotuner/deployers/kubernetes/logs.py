"""Log of a container, with each line exactly once over connections that may break.

Lines are requested with timestamps. A connection that ends before the container is reopened from the second of the last
line on, and lines that were read already are skipped. A line without its newline is not complete yet.
"""

import math
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import httpx

from autotuner.deployers.kubernetes.client import Cluster, RefusedError
from autotuner.deployers.kubernetes.patience import Patience
from autotuner.study.failure import Failure, FailureCause, TrialFailedError

_IDLE_S = 60.0
_FRACTION = re.compile(r"\.\d+")


class _Position:
    """How far a log was read: the time of the last line, and the number of lines with exactly that time."""

    def __init__(self) -> None:
        self.last = ""
        self._count = 0
        self._to_skip = 0

    def resume(self) -> dict[str, str]:
        """Returns parameters of the next connection, which repeats all lines of the last line's second."""
        self._to_skip = self._count
        return {"sinceTime": _FRACTION.sub("", self.last)} if self.last else {}

    def is_new(self, at: str) -> bool:
        """Returns whether a line with this time is new."""
        if at < self.last:
            return False
        if at > self.last:
            self.last = at
            self._count = 0
            self._to_skip = 0
        elif self._to_skip:
            self._to_skip -= 1
            return False
        self._count += 1
        return True


async def follow(cluster: Cluster, pod: str, container: str, has_ended: Callable[[], bool]) -> AsyncGenerator[bytes]:
    """Yields the log's lines, without newlines, until the container has ended and its last line was read, or the pod is
    gone.

    Waits for a node or an API server that does not respond: the watch of the pod gives up instead. Raises
    ``TrialFailedError`` if logs may not be read.
    """
    position = _Position()
    patience = Patience(math.inf)
    while True:
        over = has_ended()
        whole = False
        why = "the log ended early"
        try:
            async for at, line in _lines(cluster, pod, container, position.resume()):
                patience.reset()
                if position.is_new(at):
                    yield line
            whole = True
        except RefusedError as error:
            if error.code == httpx.codes.NOT_FOUND:
                return
            if error.code == httpx.codes.FORBIDDEN:
                raise TrialFailedError(_forbidden(error)) from error
            why = error.message
        except httpx.ReadTimeout:  # no output for a while
            patience.reset()
            continue
        except (httpx.TransportError, ssl.SSLError) as error:
            why = str(error) or type(error).__name__
        if over and whole:
            return
        await patience.after(why)


async def _lines(cluster: Cluster, pod: str, container: str, since: dict[str, str]) -> AsyncIterator[tuple[str, bytes]]:
    """Yields (time, line) of one connection."""
    params = {"container": container, "follow": "true", "timestamps": "true", **since}
    async with cluster.stream(f"{cluster.path('pods', pod)}/log", idle_s=_IDLE_S, **params) as response:
        partial = b""
        async for data in response.aiter_bytes():
            *lines, partial = (partial + data).split(b"\n")
            for line in lines:
                at, _, text = line.partition(b" ")
                yield at.decode(errors="replace"), text


def _forbidden(error: RefusedError) -> Failure:
    message = f"cannot read the log: {error.message}"
    remedy = "give the tuner's account the verb get on pods/log"
    return Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy)
