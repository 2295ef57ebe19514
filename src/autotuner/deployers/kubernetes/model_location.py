"""Location of a model for servers in pods: a folder on the nodes, a folder of a volume, or a name on the Hub."""

from pathlib import PurePosixPath

from autotuner.deployers.kubernetes.settings import KubernetesSettings
from autotuner.errors import Problem, UsageError
from autotuner.manifests.volume import root_of
from autotuner.study.spec import Model


def locate(model: Model, settings: KubernetesSettings) -> Model:
    """Returns the model as pods find it.

    With a volume, every model is in it. Otherwise an absolute path must be below a root, a name without a slash is a
    folder of the first root, and anything else is a name on the Hub. Raises ``UsageError``.
    """
    path = PurePosixPath(model.path)
    if not path.parts or ".." in path.parts or model.path.startswith("~"):
        raise UsageError(Problem(where="model.path", value=model.path, why="is neither a model name nor a path"))
    if settings.pvc:
        return _in(model, settings.pvc.mount_path)
    if not path.is_absolute():
        return _in(model, settings.model_roots[0]) if settings.model_roots and len(path.parts) == 1 else model
    if why := missing(model.path, settings):
        remedy = "add a folder that contains it to deploy.model_roots, or set deploy.pvc"
        raise UsageError(Problem(where="model.path", value=model.path, why=why, remedy=remedy))
    return model


def _in(model: Model, folder: str) -> Model:
    """Returns the model in a folder; a path below the folder is kept."""
    path = PurePosixPath(model.path)
    if path.is_absolute():
        if path.is_relative_to(folder):
            return model
        why = f"models are in {folder}"
        raise UsageError(
            Problem(where="model.path", value=model.path, why=why, remedy="write its path below that folder")
        )
    found = str(PurePosixPath(folder) / path)
    return model.model_copy(update={"path": found, "name": model.name or model.path})


def missing(file: str, settings: KubernetesSettings) -> str:
    """Returns why pods would not find a file; empty if they may."""
    if settings.pvc:
        inside = PurePosixPath(file).is_relative_to(settings.pvc.mount_path)
        return "" if inside else f"is outside of {settings.pvc.mount_path}, where deploy.pvc is mounted"
    return "" if root_of(file, settings.model_roots) else "is outside of deploy.model_roots"
