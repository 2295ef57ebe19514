"""Models and runtimes of OME in a cluster. Namespaced objects take precedence over cluster-scoped ones, as in OME."""

from dataclasses import dataclass

from autotuner.deployers.kubernetes.client import Cluster, Json
from autotuner.manifests.ome_command_line import OME

APPS = "apps/v1"
"""API group of Deployments."""
SERVICES = "inferenceservices"
BENCHMARKS = "benchmarkjobs"
SERVICE_LABEL = "ome.io/inferenceservice"
"""Label of everything that OME creates for a service."""
_KEY_LENGTH = 32


@dataclass(frozen=True)
class OmeResource:
    """A model or a runtime of OME."""

    body: Json

    @property
    def name(self) -> str:
        """Name of the object."""
        return str(self.body["metadata"]["name"])

    @property
    def kind(self) -> str:
        """Kind of the object."""
        return str(self.body["kind"])

    @property
    def namespaced(self) -> bool:
        """Whether it belongs to a namespace, not to the cluster."""
        return bool(self.body["metadata"].get("namespace"))

    @property
    def spec(self) -> Json:
        """``spec`` of the object."""
        found: Json = self.body.get("spec") or {}
        return found

    @property
    def status(self) -> Json:
        """``status`` of the object."""
        found: Json = self.body.get("status") or {}
        return found

    @property
    def version(self) -> tuple[str, int]:
        """(uid, generation), which changes with every change of the object."""
        metadata = self.body["metadata"]
        return str(metadata["uid"]), int(metadata.get("generation", 0))

    @property
    def reference(self) -> dict[str, str]:
        """Reference for a service, always with the kind: OME finds a model without it, but relies on it later."""
        return {"name": self.name, "kind": self.kind}


async def find_model(cluster: Cluster, name: str) -> OmeResource | None:
    """Returns the BaseModel of the namespace, else the ClusterBaseModel. Raises ``RefusedError``."""
    return await _find(cluster, "basemodels", "BaseModel", name)


async def find_runtime(cluster: Cluster, name: str) -> OmeResource | None:
    """Returns the ServingRuntime of the namespace, else the ClusterServingRuntime. Raises ``RefusedError``."""
    return await _find(cluster, "servingruntimes", "ServingRuntime", name)


async def _find(cluster: Cluster, plural: str, kind: str, name: str) -> OmeResource | None:
    if own := await cluster.find(cluster.path(plural, name, group=OME)):
        return OmeResource({"kind": kind, **own})
    if shared := await cluster.find(f"/apis/{OME}/cluster{plural}/{name}"):
        return OmeResource({"kind": f"Cluster{kind}", **shared})
    return None


async def known(cluster: Cluster, plural: str) -> list[Json] | None:
    """Lists models (``basemodels``) or runtimes (``servingruntimes``) of the namespace and the cluster.

    Returns None if neither may be listed.
    """
    own = await cluster.visible(cluster.path(plural, group=OME))
    shared = await cluster.visible(f"/apis/{OME}/cluster{plural}")
    return None if own is None is shared else [*(own or ()), *(shared or ())]


def model_path(model: OmeResource) -> str | None:
    """Returns the model's folder on its nodes, which is also ``MODEL_PATH`` of its servers; None if it has none."""
    path = (model.spec.get("storage") or {}).get("path")
    return str(path) if path else None


def node_label(model: OmeResource) -> str:
    """Returns the label of nodes that have the model, whose value is ``Ready``.

    Empty for a long name, since OME's label then contains a digest; the model's status still lists the nodes.
    """
    name = model.name
    namespace = model.body["metadata"].get("namespace")
    if len(name) > _KEY_LENGTH:
        return ""
    return f"models.ome.io/{namespace}.basemodel.{name}" if namespace else f"models.ome.io/clusterbasemodel.{name}"


def runner(runtime: OmeResource) -> Json:
    """Returns the server's container in a runtime; empty if it has none."""
    found: Json = engine_config(runtime).get("runner") or {}
    return found


def engine_config(runtime: OmeResource) -> Json:
    """Returns the part of a runtime that becomes the server's pod."""
    found: Json = runtime.spec.get("engineConfig") or {}
    return found
