"""A cluster as a target: hardware, preflight checks, and leftovers of earlier runs."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence

from autotuner.deployers.kubernetes.checks import access
from autotuner.deployers.kubernetes.client import Cluster, connected
from autotuner.deployers.kubernetes.inventory import NodeInventory
from autotuner.deployers.kubernetes.pods.leftovers import PodLeftovers
from autotuner.deployers.kubernetes.pods.server_object import ObjectKind
from autotuner.deployers.kubernetes.settings import ServerSettings
from autotuner.plugins.deployer import Deployer
from autotuner.study.check import Check
from autotuner.study.failure import TrialFailedError
from autotuner.study.launch import Gpu, Hardware, LaunchedObject, LaunchPlan


class ClusterTarget(Deployer):
    """Base class of deployers to a cluster, which differ in the objects that they create for a server."""

    settings: ServerSettings

    def __init__(self, settings: ServerSettings, kind: ObjectKind) -> None:
        super().__init__(settings)
        self._leftovers = PodLeftovers(settings, kind)
        self._nodes = NodeInventory(settings, self.kind, self.placing)

    @abstractmethod
    async def checks(self, cluster: Cluster, plans: Sequence[LaunchPlan]) -> list[Check]:
        """Makes the preflight checks. Raises ``TrialFailedError`` if the API server does not respond."""

    async def placing(self, cluster: Cluster) -> ServerSettings:
        """Returns the settings that select nodes. Raises ``TrialFailedError`` if a named object is missing."""
        return self.settings

    async def preflight(self, plans: Iterable[LaunchPlan]) -> list[Check]:
        """Connects and makes all checks. Changes nothing."""
        try:
            async with connected(self.settings.impatient()) as cluster:
                return await self.checks(cluster, list(plans))
        except TrialFailedError as error:
            return [access.unreachable(error.failure)]

    async def hardware(self) -> Hardware:
        """Returns the hardware of the largest usable node. Raises :class:`UnusableTargetError`."""
        return await self._nodes.hardware()

    async def gpus(self) -> Sequence[Gpu]:
        """Returns a place for each GPU of the usable nodes."""
        return await self._nodes.gpus()

    async def reap(self, is_dead: Callable[[str], bool], *, study: str | None = None) -> list[str]:
        """Removes the objects of dead owners, with everything that they own."""
        return await self._leftovers.reap(is_dead, study)

    async def launched_objects(self) -> Sequence[LaunchedObject]:
        """Returns the objects of all runs; pods belong to them. Raises ``TrialFailedError``."""
        return await self._leftovers.listed()
