"""Objects of the cluster as they are now, kept by a watch: news, not polls.

A watch that is cut goes on where it was; one that is too old begins with a list again. Whoever looks always sees the
whole state, never a single change, so that a change that was missed while the connection was away cannot matter.
"""

import asyncio
import json
import logging
import random
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

import httpx

from autotuner.deployers.kubernetes.client import Cluster, Json, Patience, RefusedError
from autotuner.deployers.kubernetes.refusals import not_authenticated
from autotuner.study.failure import Failure, FailureCause, TrialFailedError

T = TypeVar("T")

_WATCH_S = (240, 300)
_IDLE_S = 90.0
"""The server sends a bookmark about once a minute; a connection that is silent for longer is dead."""


logger = logging.getLogger(__name__)


class ChangeSignal:
    """Told by watches whenever something has changed, so that one waiter can wait for all of them."""

    def __init__(self) -> None:
        self.count = 0
        self._event = asyncio.Event()

    def tell(self) -> None:
        """Something has changed."""
        self.count += 1
        self._event.set()
        self._event = asyncio.Event()

    async def after(self, count: int) -> None:
        """Returns when there is more news than this many."""
        while self.count <= count:
            await self._event.wait()


class ResourceWatch:
    """The objects of one kind that fit a selector, by uid, for the time of the block.

    Entering raises ``TrialFailedError`` where they may not be listed, or the API server stays away.
    """

    def __init__(
        self, cluster: Cluster, path: str, *, labels: str = "", fields: str = "", news: ChangeSignal | None = None
    ) -> None:
        self._cluster = cluster
        self._path = path
        self.news = news or ChangeSignal()
        self._selectors = {"labelSelector": labels, "fieldSelector": fields}
        self._selectors = {name: text for name, text in self._selectors.items() if text}
        self._version = ""
        self.objects: dict[str, Json] = {}
        self.lost: Failure | None = None
        """Why there will be no more news."""

    async def __aenter__(self) -> Self:
        try:
            await self._list()
        except RefusedError as error:
            raise TrialFailedError(_refused(self._path, error)) from error
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def until(self, look: Callable[[], T | None]) -> T:
        """What ``look`` finds, once it finds something; it is called again after each change. Raises
        ``TrialFailedError`` when there will be no more news."""
        while True:
            seen = self.news.count
            found = look()
            if found is not None:
                return found
            if self.lost:
                raise TrialFailedError(self.lost)
            await self.news.after(seen)

    async def _list(self) -> None:
        found = await self._cluster.get(self._path, **self._selectors)
        self.objects = {item["metadata"]["uid"]: item for item in found["items"]}
        self._version = found["metadata"]["resourceVersion"]
        logger.debug(
            "watching %s %s from version %s: %d objects", self._path, self._selectors, self._version, len(self.objects)
        )
        self.news.tell()

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
                    if not error.passing:
                        raise
                    why = error.message
                except (httpx.TransportError, ssl.SSLError) as error:
                    why = str(error) or type(error).__name__
                logger.info("watch of %s ended, starting it again: %s", self._path, why)
                await patience.after(why)
        except RefusedError as error:
            self.lost = _refused(self._path, error)
        except TrialFailedError as error:
            self.lost = error.failure
        logger.info("watch of %s given up: %s", self._path, self.lost.message)
        self.news.tell()

    async def _follow(self, patience: Patience) -> None:
        """One connection's changes, until it ends."""
        seconds = random.randint(*_WATCH_S)  # noqa: S311 - spreads reconnections, no secret
        params = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": self._version}
        async with self._cluster.stream(
            self._path, idle_s=_IDLE_S, timeoutSeconds=str(seconds), **params, **self._selectors
        ) as answer:
            patience.answered()
            async for line in answer.aiter_lines():
                if line:
                    self._take(json.loads(line))
                    patience.fine()

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
        self.news.tell()


def _refused(path: str, error: RefusedError) -> Failure:
    if error.code == httpx.codes.UNAUTHORIZED:
        return not_authenticated(error.message)
    message = f"{path.rpartition('/')[2]} may not be watched: {error.message}"
    remedy = "give the tuner's account the verbs get, list and watch on it"
    return Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy)
