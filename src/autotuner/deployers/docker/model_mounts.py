"""Read-only mounts of a model's files, under the same path inside the container.

A Hub snapshot consists of symbolic links to files outside its folder, so the target of each link is mounted as well.
Nothing outside of the allowed roots is ever mounted this way.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from autotuner.deployers.docker.settings import DockerSettings
from autotuner.errors import Problem, UsageError
from autotuner.manifests.volume import Volume
from autotuner.study.spec import Model

_MAX_LINKS = 4096


class ModelFilesError(Exception):
    """Model files that cannot be mounted.

    Attributes:
        why: One line that names the file and the reason.
        remedy: What to do about it.
    """

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.why = why
        self.remedy = remedy


def roots(settings: DockerSettings) -> tuple[Path, ...]:
    """Returns the folders from which model files may be mounted."""
    return (*settings.model_roots, settings.cache)


def _inside(path: Path, allowed: Sequence[Path]) -> bool:
    """Whether a path lies below a root, with links resolved on both sides."""
    real = path.resolve()
    return any(real.is_relative_to(root.resolve()) for root in allowed)


def locate(model: Model, settings: DockerSettings) -> Model:
    """Resolves the path of a model.

    A name that exists under a model root becomes that path; any other name is taken for one on the Hub.

    Raises:
        UsageError: If an absolute path lies outside of the roots, or the name contains ``..``.
    """
    path = Path(model.path)
    if path.is_absolute():
        if ".." in path.parts or not _inside(path, roots(settings)):
            why = "is outside of the model folders that containers may mount"
            remedy = "add a parent folder to deploy.model_roots"
            raise UsageError(Problem(where="model.path", value=model.path, why=why, remedy=remedy))
        return model
    if not path.parts or ".." in path.parts:
        why = "is neither a model name nor an absolute path"
        raise UsageError(Problem(where="model.path", value=model.path, why=why))
    for root in settings.model_roots:
        found = root / path
        if found.exists():
            name = model.name or model.path
            return locate(model.model_copy(update={"path": str(found), "name": name}), settings)
    return model


def mounts(files: Sequence[str], settings: DockerSettings) -> list[Volume]:
    """Returns the volumes that a container needs for these files and folders, including link targets.

    Raises:
        ModelFilesError: If a file is missing, unreadable or outside of the roots.
    """
    allowed = roots(settings)
    volumes: dict[str, Volume] = {}
    waiting = [(Path(os.path.normpath(name)), Path(name)) for name in files]
    while waiting:
        target, source = waiting.pop()
        if any(target == Path(seen) or target.is_relative_to(seen) for seen in volumes):
            continue
        real = _checked(source, target, allowed)
        volumes[str(target)] = Volume(source=str(real), target=str(target), read_only=True)
        waiting += _outgoing_links(real, target)
        if len(volumes) + len(waiting) > _MAX_LINKS:
            remedy = "use a folder that contains the files themselves"
            raise ModelFilesError(f"{files[0]} has more than {_MAX_LINKS} links", remedy)
    return [volumes[name] for name in sorted(volumes)]


def _checked(source: Path, target: Path, allowed: Sequence[Path]) -> Path:
    real = source.resolve()
    if not real.exists():
        raise ModelFilesError(f"{target} does not exist", "correct model.path, or download the model again")
    if not _inside(real, allowed):
        remedy = "add a parent folder to deploy.model_roots, or use a model without such links"
        raise ModelFilesError(f"{target} links to {real}, outside of the model folders", remedy)
    if not os.access(real, os.R_OK):
        raise ModelFilesError(f"{real} is not readable", f"make it readable: chmod -R +r {real}")
    return real


def _outgoing_links(folder: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """Yields (path that it points to inside the container, path of the link here) of each link out of the folder."""
    for here, folders, names in os.walk(folder):
        inner = target / Path(here).relative_to(folder)
        for name in (*folders, *names):
            link = Path(here) / name
            if link.is_symlink():
                destination = Path(os.path.normpath(inner / os.readlink(link)))  # noqa: PTH115 - the text of the link
                if not destination.is_relative_to(target):
                    yield destination, link
