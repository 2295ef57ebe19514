"""Current runtime and model of a study in a cluster with OME."""

from dataclasses import dataclass

from autotuner.deployers.kubernetes.client import Cluster, RefusedError
from autotuner.deployers.kubernetes.refused_object import refusal
from autotuner.deployers.ome.resources import OmeResource, find_model, find_runtime, known, model_path
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.study.failure import FailureCause, TrialFailedError


@dataclass(frozen=True)
class ServedModel:
    """A model and the runtime that serves it."""

    runtime: OmeResource
    model: OmeResource

    @property
    def path(self) -> str:
        """Folder in which servers find the model."""
        return str(model_path(self.model))

    @property
    def source(self) -> str:
        """Source from which OME got the model, e.g. ``ClusterBaseModel m from hf://org/m@revision``.

        Without the URI's query, which may hold a signature.
        """
        uri = str((self.model.spec.get("storage") or {}).get("storageUri") or "an unknown source")
        return f"{self.model.kind} {self.model.name} from {uri.partition('?')[0]}"


async def find_served(cluster: Cluster, settings: OmeSettings, model_name: str) -> ServedModel:
    """Finds the runtime and the model. Raises ``TrialFailedError`` if one does not exist or may not be read."""
    name = settings.runtime
    if name is None:
        remedy = "set deploy.runtime to a ServingRuntime or ClusterServingRuntime of the cluster"
        raise TrialFailedError.because(FailureCause.NOT_ACCEPTED, "deploy.runtime is not set", remedy=remedy)
    try:
        runtime = await find_runtime(cluster, name)
        model = await find_model(cluster, model_name)
        if runtime is None:
            why = f"runtime {name} is neither in namespace {cluster.namespace} nor in the cluster"
            remedy = await _others(cluster, "servingruntimes", "deploy.runtime")
            raise TrialFailedError.because(FailureCause.NOT_ACCEPTED, why, remedy=remedy)
        if model is None:
            why = f"model {model_name} is neither in namespace {cluster.namespace} nor in the cluster"
            raise TrialFailedError.because(
                FailureCause.MODEL_MISSING, why, remedy=await _others(cluster, "basemodels", "model")
            )
    except RefusedError as error:
        raise TrialFailedError(refusal(error, "reading model and runtime")) from error
    if model_path(model) is None:
        why = f"model {model_name} has no storage.path, so its servers could not find it"
        raise TrialFailedError.because(
            FailureCause.MODEL_MISSING, why, remedy="set spec.storage.path to its folder on the nodes"
        )
    return ServedModel(runtime, model)


async def _others(cluster: Cluster, plural: str, where: str) -> str:
    """Returns a remedy with the names that exist."""
    names = {str(item["metadata"]["name"]) for item in await known(cluster, plural) or ()}
    some = ", ".join(sorted(names)[:20])
    return f"correct {where}; available: {some}" if some else f"create it, or correct {where} or deploy.namespace"
