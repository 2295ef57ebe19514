"""Models and runtimes of OME in a cluster. Namespaced objects take precedence over cluster-scoped ones, as in OME."""

from dataclasses import dataclass

from autotuner.deployers.kubernetes.client import Cluster, Json
from autotuner.manifests.ome_command_line import OME

APPS = "apps/v1"
"""API group of Deployments."""
SERVICES = "inferenceservices"
BENCHMARKS = "benchmarkjobs"
SERVICE_LABEL = "ome.io/inferenceservice"
"""On everything that OME creates for a service."""
_KEY_LENGTH = 32


@dataclass(frozen=True)
class OmeResource:
    """A model or a runtime of OME."""

    thing: Json

    @property
    def name(self) -> str:
        """Name of the object."""
        return str(self.thing["metadata"]["name"])

    @property
    def kind(self) -> str:
        """Kind by which a service refers to it."""
        return str(self.thing["kind"])

    @property
    def namespaced(self) -> bool:
        """Whether it belongs to the namespace, not to the cluster."""
        return bool(self.thing["metadata"].get("namespace"))

    @property
    def spec(self) -> Json:
        """``spec`` of the object."""
        found: Json = self.thing.get("spec") or {}
        return found

    @property
    def status(self) -> Json:
        """``status`` of the object."""
        found: Json = self.thing.get("status") or {}
        return found

    @property
    def version(self) -> tuple[str, int]:
        """(uid, generation), which differs once the object was changed."""
        metadata = self.thing["metadata"]
        return str(metadata["uid"]), int(metadata.get("generation", 0))

    @property
    def reference(self) -> dict[str, str]:
        """As a service refers to it. Always with the kind, since OME finds a model without it but then relies on it."""
        return {"name": self.name, "kind": self.kind}


async def find_model(cluster: Cluster, name: str) -> OmeResource | None:
    """BaseModel of the namespace, else ClusterBaseModel. Raises ``RefusedError`` if they may not be read."""
    return await _find(cluster, "basemodels", "BaseModel", name)


async def find_runtime(cluster: Cluster, name: str) -> OmeResource | None:
    """ServingRuntime of the namespace, else ClusterServingRuntime. Raises ``RefusedError`` as :func:`find_model`."""
    return await _find(cluster, "servingruntimes", "ServingRuntime", name)


async def _find(cluster: Cluster, plural: str, kind: str, name: str) -> OmeResource | None:
    if own := await cluster.find(cluster.path(plural, name, group=OME)):
        return OmeResource({"kind": kind, **own})
    if shared := await cluster.find(f"/apis/{OME}/cluster{plural}/{name}"):
        return OmeResource({"kind": f"Cluster{kind}", **shared})
    return None


async def known(cluster: Cluster, plural: str) -> list[Json] | None:
    """Models (``basemodels``) or runtimes (``servingruntimes``) of the namespace and of the cluster; None where neither
    may be listed."""
    own = await cluster.visible(cluster.path(plural, group=OME))
    shared = await cluster.visible(f"/apis/{OME}/cluster{plural}")
    return None if own is None is shared else [*(own or ()), *(shared or ())]


def model_path(model: OmeResource) -> str | None:
    """Where servers find the model: in MODEL_PATH too."""
    path = (model.spec.get("storage") or {}).get("path")
    return str(path) if path else None


def node_label(model: OmeResource) -> str:
    """The label that a node which has the model carries, with the value ``Ready``. Empty for a long name, of which
    OME's label holds a digest: its status still tells the nodes."""
    name = model.name
    namespace = model.thing["metadata"].get("namespace")
    if len(name) > _KEY_LENGTH:
        return ""
    return f"models.ome.io/{namespace}.basemodel.{name}" if namespace else f"models.ome.io/clusterbasemodel.{name}"


def runner(runtime: OmeResource) -> Json:
    """The server's container in a runtime; empty where it has none."""
    found: Json = engine_config(runtime).get("runner") or {}
    return found


def engine_config(runtime: OmeResource) -> Json:
    """The runtime's part that becomes the server's pod."""
    found: Json = runtime.spec.get("engineConfig") or {}
    return found
