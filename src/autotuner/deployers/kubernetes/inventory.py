"""Hardware and GPUs of the nodes that a deployer's servers may run on."""

import time
from collections.abc import Awaitable, Callable, Sequence

from autotuner.deployers.kubernetes import nodes as kubernetes_nodes
from autotuner.deployers.kubernetes.client import Cluster, connected
from autotuner.deployers.kubernetes.nodes import Nodes
from autotuner.deployers.kubernetes.settings import ServerSettings
from autotuner.deployers.shared.connection_failures import must_answer
from autotuner.study.launch import Gpu, Hardware

Placing = Callable[[Cluster], Awaitable[ServerSettings]]
"""Returns the settings that select nodes, including what objects of the cluster add. Raises ``TrialFailedError``."""
_FRESH_S = 5.0
"""How long a list of the nodes is reused: trials that wait for GPUs poll twice a second."""


class NodeInventory:
    """Hardware and GPUs of the nodes, cached for a few seconds."""

    def __init__(self, settings: ServerSettings, kind: str, placing: Placing) -> None:
        """``kind`` of the deployer is used in messages."""
        self._settings = settings
        self._kind = kind
        self._placing = placing
        self._gpus: tuple[float, Sequence[Gpu]] | None = None

    async def hardware(self) -> Hardware:
        """Returns the hardware of the largest node. Raises :class:`UnusableTargetError`."""
        with must_answer(self._kind):
            async with connected(self._settings.impatient()) as cluster:
                nodes, settings = await self._look(cluster, gpus=False)
        return kubernetes_nodes.hardware(nodes, settings)

    async def gpus(self) -> Sequence[Gpu]:
        """Returns a place for each GPU of the usable nodes. Raises ``TrialFailedError``."""
        now = time.monotonic()
        if self._gpus is None or now - self._gpus[0] > _FRESH_S:
            async with connected(self._settings) as cluster:
                nodes, settings = await self._look(cluster, gpus=True)
            self._gpus = now, kubernetes_nodes.places(nodes, settings)
        return self._gpus[1]

    async def _look(self, cluster: Cluster, *, gpus: bool) -> tuple[Nodes, ServerSettings]:
        settings = await self._placing(cluster)
        return await kubernetes_nodes.list_nodes_if_allowed(cluster, settings, gpus=gpus), settings
