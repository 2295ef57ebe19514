"""Location of a model for servers in pods: a folder on the nodes, a folder of a volume, or a name on the Hub."""

from pathlib import PurePosixPath

from autotuner.deployers.kubernetes.settings import KubernetesSettings
from autotuner.errors import Problem, UsageError
from autotuner.manifests.volume import root_of
from autotuner.study.spec import Model


def locate(model: Model, settings: KubernetesSettings) -> Model:
    """With a volume, every model is in it. Else an absolute path must lie under a root, a name without a slash is a
    folder of the first root, and all else is a hub's name. Raises ``UsageError``."""
    path = PurePosixPath(model.path)
    if not path.parts or ".." in path.parts or model.path.startswith("~"):
        raise UsageError(Problem(where="model.path", value=model.path, why="is neither a model's name nor a path"))
    if settings.pvc:
        return _in(model, settings.pvc.mount_path)
    if not path.is_absolute():
        return _in(model, settings.model_roots[0]) if settings.model_roots and len(path.parts) == 1 else model
    if why := missing(model.path, settings):
        remedy = "list a folder above it in deploy.model_roots, or give deploy.pvc"
        raise UsageError(Problem(where="model.path", value=model.path, why=why, remedy=remedy))
    return model


def _in(model: Model, folder: str) -> Model:
    """The model in a folder; a path that is there already stays."""
    path = PurePosixPath(model.path)
    if path.is_absolute():
        if path.is_relative_to(folder):
            return model
        why = f"models are in {folder}"
        raise UsageError(Problem(where="model.path", value=model.path, why=why, remedy="give its path below that"))
    found = str(PurePosixPath(folder) / path)
    return model.model_copy(update={"path": found, "name": model.name or model.path})


def missing(file: str, settings: KubernetesSettings) -> str:
    """Why pods would not find a file; empty where they may."""
    if settings.pvc:
        inside = PurePosixPath(file).is_relative_to(settings.pvc.mount_path)
        return "" if inside else f"lies outside of {settings.pvc.mount_path}, where deploy.pvc is"
    return "" if root_of(file, settings.model_roots) else "lies outside of the folders that pods may see models of"
