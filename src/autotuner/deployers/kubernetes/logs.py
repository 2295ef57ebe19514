"""Log of a container from its first line to its last, each once, over connections that may break.

Lines are requested with timestamps. A connection that ends before the container is opened again from the second of the
last line on, and lines that were seen already are skipped; a line without its newline is not complete yet.
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


class _Seen:
    """How far a log was read: the time of the last line, and how many lines have that very time."""

    def __init__(self) -> None:
        self.last = ""
        self._count = 0
        self._to_pass = 0

    def again(self) -> dict[str, str]:
        """Parameters of the next connection, which repeats all lines of the last line's second."""
        self._to_pass = self._count
        return {"sinceTime": _FRACTION.sub("", self.last)} if self.last else {}

    def is_new(self, at: str) -> bool:
        """Whether a line with this time is new."""
        if at < self.last:
            return False
        if at > self.last:
            self.last = at
            self._count = 0
            self._to_pass = 0
        elif self._to_pass:
            self._to_pass -= 1
            return False
        self._count += 1
        return True


async def follow(cluster: Cluster, pod: str, container: str, has_ended: Callable[[], bool]) -> AsyncGenerator[bytes]:
    """The log's lines, without their newline, until the container has ended (``has_ended``) and its last line was read,
    or the pod is gone.

    A node or an API server that does not answer is waited for: the watch of the pod gives up. Raises
    ``TrialFailedError`` where logs may not be read.
    """
    seen = _Seen()
    patience = Patience(math.inf)
    while True:
        over = has_ended()
        whole = False
        why = "the log ended early"
        try:
            async for at, line in _lines(cluster, pod, container, seen.again()):
                patience.reset()
                if seen.is_new(at):
                    yield line
            whole = True
        except RefusedError as error:
            if error.code == httpx.codes.NOT_FOUND:
                return
            if error.code == httpx.codes.FORBIDDEN:
                raise TrialFailedError(_forbidden(error)) from error
            why = error.message
        except httpx.ReadTimeout:  # it has been silent
            patience.reset()
            continue
        except (httpx.TransportError, ssl.SSLError) as error:
            why = str(error) or type(error).__name__
        if over and whole:
            return
        await patience.after(why)


async def _lines(cluster: Cluster, pod: str, container: str, since: dict[str, str]) -> AsyncIterator[tuple[str, bytes]]:
    """(time, line) of one connection."""
    params = {"container": container, "follow": "true", "timestamps": "true", **since}
    async with cluster.stream(f"{cluster.path('pods', pod)}/log", idle_s=_IDLE_S, **params) as answer:
        begun = b""
        async for data in answer.aiter_bytes():
            *lines, begun = (begun + data).split(b"\n")
            for line in lines:
                at, _, text = line.partition(b" ")
                yield at.decode(errors="replace"), text


def _forbidden(error: RefusedError) -> Failure:
    message = f"the log may not be read: {error.message}"
    remedy = "give the tuner's account the verb get on pods/log"
    return Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy)
