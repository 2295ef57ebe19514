"""Caches of the cluster, events, and the work queue of controllers."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import httpx

from support.ome_standin.faults import Faults
from support.ome_standin.kube import ApiError, Informer, Key, Kube, Object, log
from support.ome_standin.rules.admission import Catalog
from support.ome_standin.rules.status import now

SOURCE = "v1beta1Controllers"
_LONGEST_PAUSE_S = 15.0
_WATCHED = (
    "InferenceService", "ServingRuntime", "ClusterServingRuntime", "BaseModel", "ClusterBaseModel", "AcceleratorClass",
    "BenchmarkJob", "Node",
)  # fmt: skip


class World:
    """Cached state of one cluster."""

    def __init__(self, kube: Kube, faults: Faults) -> None:
        self.kube = kube
        self.faults = faults
        self.informers = {kind: Informer(kube, kind) for kind in _WATCHED}
        self.informers["Deployment"] = Informer(kube, "Deployment", "ome.io/inferenceservice")
        self.informers["Job"] = Informer(kube, "Job", "benchmark")
        self._seen: dict[tuple[str, str, str], tuple[str, int]] = {}

    def __getitem__(self, kind: str) -> Informer:
        return self.informers[kind]

    async def synced(self) -> None:
        """Returns once every cache is filled."""
        for informer in self.informers.values():
            await informer.synced.wait()

    def catalog(self) -> Catalog:
        """Returns the models and runtimes."""
        return Catalog(
            models={**self["BaseModel"].objects, **self["ClusterBaseModel"].objects},
            runtimes={**self["ServingRuntime"].objects, **self["ClusterServingRuntime"].objects},
            classes=frozenset(name for _, name in self["AcceleratorClass"].objects),
        )

    async def event(self, about: Object, reason: str, message: str, kind: str = "Warning") -> None:
        """Emits an event, or increments the count of an equal one."""
        meta = about["metadata"]
        namespace = meta["namespace"]
        seen = self._seen.get((meta["uid"], reason, message))
        if seen is not None:
            name = seen[0]
            count = seen[1] + 1
            self._seen[meta["uid"], reason, message] = (name, count)
            await self.kube.merge("Event", name, namespace, {"count": count, "lastTimestamp": now()})
            return
        name = f"{meta['name']}.{secrets.token_hex(8)}"
        self._seen[meta["uid"], reason, message] = (name, 1)
        involved = {"apiVersion": "ome.io/v1beta1", "kind": about["kind"], "name": meta["name"]}
        await self.kube.create(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": name, "namespace": namespace},
                "involvedObject": {**involved, "namespace": namespace, "uid": meta["uid"]},
                "reason": reason,
                "message": message,
                "type": kind,
                "count": 1,
                "source": {"component": SOURCE},
                "firstTimestamp": now(),
                "lastTimestamp": now(),
            }
        )


Reconcile = Callable[[Key], Awaitable["float | None"]]
"""Reconciles one object; returns the seconds until the next reconcile, or None to wait for a change."""


class Worker:
    """Runs one reconcile at a time; a failed one is only logged and retried after increasing pauses."""

    def __init__(self, name: str, reconcile: Reconcile, faults: Faults) -> None:
        self._name = name
        self._reconcile = reconcile
        self._faults = faults
        self._waiting: dict[Key, None] = {}
        self._failures: dict[Key, int] = {}
        self._wake = asyncio.Event()

    def add(self, key: Key) -> None:
        """Queues an object."""
        self._waiting[key] = None
        self._wake.set()

    def add_object(self, thing: Object) -> None:
        """Queues an object; a listener for informers."""
        self.add((thing["metadata"].get("namespace", ""), thing["metadata"]["name"]))

    async def run(self) -> None:
        """Runs until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            while not self._waiting or self._faults.controller_stopped:
                self._wake.clear()
                # nothing wakes a stopped controller when it may continue, so that is polled
                timeout = 0.1 if self._faults.controller_stopped else None
                try:
                    await asyncio.wait_for(self._wake.wait(), timeout)
                except TimeoutError:
                    continue
            key = next(iter(self._waiting))
            del self._waiting[key]
            try:
                pause = await self._reconcile(key)
                self._failures.pop(key, None)
            except (
                ApiError,
                httpx.HTTPError,
                OSError,
                ArithmeticError,
                LookupError,
                RuntimeError,
                ValueError,
            ) as error:
                failures = self._failures[key] = self._failures.get(key, 0) + 1
                pause = min(_LONGEST_PAUSE_S, 0.1 * 2 ** (failures - 1))
                log(f"{self._name} {'/'.join(key)}: Reconciler error: {type(error).__name__}: {error}")
            if pause is not None:
                loop.call_later(pause, self.add, key)
