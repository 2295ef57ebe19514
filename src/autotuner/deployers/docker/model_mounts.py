"""Mounts of the files that a container may see as a model: read-only, under the same path.

A hub's snapshot folder is full of links to files beside it, so what a link points to is mounted where the link
leads inside the container. Nothing that lies outside of the allowed roots is ever mounted this way.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from autotuner.deployers.docker.settings import DockerSettings
from autotuner.errors import Problem, UsageError
from autotuner.manifests.volume import Volume
from autotuner.study.spec import Model

_MOST_LINKS = 4096


class ModelFilesError(Exception):
    """Files of a model that cannot be shown to a container: one line why, one what to do."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.remedy = remedy


def roots(settings: DockerSettings) -> tuple[Path, ...]:
    """Where models may lie."""
    return (*settings.model_roots, settings.cache)


def _inside(path: Path, allowed: Sequence[Path]) -> bool:
    """Whether a path lies below a root, links resolved on both sides."""
    real = path.resolve()
    return any(real.is_relative_to(root.resolve()) for root in allowed)


def locate(model: Model, settings: DockerSettings) -> Model:
    """A name found under a root becomes that folder; a path must lie under a root; all else is a hub's name."""
    path = Path(model.path)
    if path.is_absolute():
        if ".." in path.parts or not _inside(path, roots(settings)):
            why = "lies outside of the folders that containers may see models of"
            remedy = "list a folder above it in deploy.model_roots"
            raise UsageError(Problem(where="model.path", value=model.path, why=why, remedy=remedy))
        return model
    if not path.parts or ".." in path.parts:
        raise UsageError(Problem(where="model.path", value=model.path, why="is neither a model's name nor a path"))
    for root in settings.model_roots:
        found = root / path
        if found.exists():
            name = model.name or model.path
            return locate(model.model_copy(update={"path": str(found), "name": name}), settings)
    return model


def mounts(files: Sequence[str], settings: DockerSettings) -> list[Volume]:
    """What a container needs to see of these files and folders. Raises :class:`ModelFilesError`."""
    allowed = roots(settings)
    volumes: dict[str, Volume] = {}
    waiting = [(Path(os.path.normpath(name)), Path(name)) for name in files]
    while waiting:
        target, source = waiting.pop()
        if any(target == Path(seen) or target.is_relative_to(seen) for seen in volumes):
            continue
        real = _checked(source, target, allowed)
        volumes[str(target)] = Volume(source=str(real), target=str(target), read_only=True)
        waiting += _leaving(real, target)
        if len(volumes) + len(waiting) > _MOST_LINKS:
            raise ModelFilesError(f"{files[0]} has more than {_MOST_LINKS} links", "give a folder with the files")
    return [volumes[name] for name in sorted(volumes)]


def _checked(source: Path, target: Path, allowed: Sequence[Path]) -> Path:
    real = source.resolve()
    if not real.exists():
        raise ModelFilesError(f"{target} does not exist", "correct model.path, or fetch the model again")
    if not _inside(real, allowed):
        remedy = "list a folder above it in deploy.model_roots, or give a model without such links"
        raise ModelFilesError(f"{target} leads to {real}, outside of the folders with models", remedy)
    if not os.access(real, os.R_OK):
        raise ModelFilesError(f"{real} is not readable", f"make it readable: chmod -R +r {real}")
    return real


def _leaving(folder: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """(where it leads inside the container, the link here) of each link that leaves a mounted folder."""
    for here, folders, names in os.walk(folder):
        inner = target / Path(here).relative_to(folder)
        for name in (*folders, *names):
            link = Path(here) / name
            if link.is_symlink():
                leads = Path(os.path.normpath(inner / os.readlink(link)))  # noqa: PTH115 - the text of the link
                if not leads.is_relative_to(target):
                    yield leads, link
