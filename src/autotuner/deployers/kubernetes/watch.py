"""Current objects of the cluster, kept up to date by a watch instead of polling.

An interrupted watch resumes where it was; an expired one starts with a list again. Readers always see the whole state,
never a single change, so a change that is missed while disconnected does not matter.
"""

import json
import logging
import random
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

import anyio
import httpx

from autotuner.deployers.kubernetes.client import Cluster, Json, RefusedError
from autotuner.deployers.kubernetes.patience import Patience
from autotuner.deployers.kubernetes.refusals import not_authenticated
from autotuner.deployers.shared.background import Background
from autotuner.study.failure import Failure, FailureCause, TrialFailedError

T = TypeVar("T")

_WATCH_S = (240, 300)
_IDLE_S = 90.0
"""The server sends a bookmark about once a minute; a connection that is silent for longer is dead."""

logger = logging.getLogger(__name__)


class ChangeSignal:
    """Set by watches whenever something has changed, so that one waiter can wait for all of them."""

    def __init__(self) -> None:
        self.count = 0
        self._event = anyio.Event()

    def notify(self) -> None:
        """Wakes the waiter."""
        self.count += 1
        self._event.set()
        self._event = anyio.Event()

    async def after(self, count: int) -> None:
        """Returns once there have been more than ``count`` changes."""
        while self.count <= count:
            await self._event.wait()


class ResourceWatch:
    """The objects of one kind that match a selector, by uid, while the watch runs."""

    def __init__(
        self, cluster: Cluster, path: str, *, labels: str = "", fields: str = "", signal: ChangeSignal | None = None
    ) -> None:
        self._cluster = cluster
        self._path = path
        self.signal = signal or ChangeSignal()
        self._selectors = {"labelSelector": labels, "fieldSelector": fields}
        self._selectors = {name: text for name, text in self._selectors.items() if text}
        self._version = ""
        self.objects: dict[str, Json] = {}
        self.lost: Failure | None = None
        """Why the watch has ended for good."""

    async def start(self, tasks: Background) -> None:
        """Lists the objects, then follows their changes as one of these tasks.

        Raises ``TrialFailedError`` if they may not be listed, or the API server does not respond.
        """
        try:
            await self._list()
        except RefusedError as error:
            raise TrialFailedError(_cannot_watch(self._path, error)) from error
        tasks.start(self._run)

    async def __aenter__(self) -> Self:
        """Starts the watch for the duration of the block; see :meth:`start`."""
        self._tasks = await Background().__aenter__()
        try:
            await self.start(self._tasks)
        except BaseException as error:
            await self._tasks.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._tasks.__aexit__(kind, error, trace)

    async def until(self, look: Callable[[], T | None]) -> T:
        """Calls ``look`` now and after each change, and returns its first result that is not None.

        Raises ``TrialFailedError`` when the watch has ended for good.
        """
        while True:
            seen = self.signal.count
            found = look()
            if found is not None:
                return found
            if self.lost:
                raise TrialFailedError(self.lost)
            await self.signal.after(seen)

    async def _list(self) -> None:
        found = await self._cluster.get(self._path, **self._selectors)
        self.objects = {item["metadata"]["uid"]: item for item in found["items"]}
        self._version = found["metadata"]["resourceVersion"]
        logger.debug(
            "watching %s %s from version %s: %d objects", self._path, self._selectors, self._version, len(self.objects)
        )
        self.signal.notify()

    async def _run(self) -> None:
        patience = Patience(self._cluster.patience_s, self._cluster.proxy)
        try:
            while True:
                try:
                    await self._follow(patience)
                    why = "the watch ended at once"
                except RefusedError as error:
                    if error.expired:
                        logger.info("watch of %s expired, listing again", self._path)
                        await self._list()
                        continue
                    if not error.transient:
                        raise
                    why = error.message
                except (httpx.TransportError, ssl.SSLError) as error:
                    why = str(error) or type(error).__name__
                logger.info("watch of %s ended, starting it again: %s", self._path, why)
                await patience.after(why)
        except RefusedError as error:
            self.lost = _cannot_watch(self._path, error)
        except TrialFailedError as error:
            self.lost = error.failure
        logger.info("watch of %s given up: %s", self._path, self.lost.message)
        self.signal.notify()

    async def _follow(self, patience: Patience) -> None:
        """Applies the changes of one connection until it ends."""
        seconds = random.randint(*_WATCH_S)  # noqa: S311 - spreads reconnections, no secret
        params = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": self._version}
        async with self._cluster.stream(
            self._path, idle_s=_IDLE_S, timeoutSeconds=str(seconds), **params, **self._selectors
        ) as response:
            patience.answered()
            async for line in response.aiter_lines():
                if line:
                    self._take(json.loads(line))
                    patience.reset()

    def _take(self, change: Json) -> None:
        kind = change["type"]
        item = change["object"]
        if kind == "ERROR":
            raise RefusedError(int(item.get("code") or 0), str(item.get("reason")), str(item.get("message")))
        self._version = item["metadata"]["resourceVersion"]
        if kind != "BOOKMARK":
            logger.debug("watch of %s: %s %s", self._path, kind, item["metadata"].get("name"))
        if kind == "DELETED":
            self.objects.pop(item["metadata"]["uid"], None)
        elif kind != "BOOKMARK":
            self.objects[item["metadata"]["uid"]] = item
        self.signal.notify()


def _cannot_watch(path: str, error: RefusedError) -> Failure:
    if error.code == httpx.codes.UNAUTHORIZED:
        return not_authenticated(error.message)
    message = f"{path.rpartition('/')[2]} cannot be watched: {error.message}"
    remedy = "give the tuner's account the verbs get, list and watch on it"
    return Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy)
