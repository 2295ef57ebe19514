"""Folders and files of a machine that are mounted into a server's container."""

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict

from autotuner.invalid_value import InvalidValueError


class Volume(BaseModel):
    """A folder or file of the machine, mounted at a path in the container."""

    model_config = ConfigDict(frozen=True)

    source: str
    target: str
    read_only: bool = False
    kind: Literal["", "File", "Directory"] = ""
    """``type`` of a ``hostPath`` volume; empty: unknown and not checked."""

    @property
    def text(self) -> str:
        """As in ``docker run -v``."""
        return f"{self.source}:{self.target}" + (":ro" if self.read_only else "")


def parse_volume(text: str) -> Volume:
    """``host:container[:ro]``, both absolute; ``~`` is this user's home. Raises ValueError."""
    parts = text.split(":")
    mode = parts.pop() if parts[-1] in {"ro", "rw"} else "rw"
    if len(parts) != 2 or not all(parts):
        raise InvalidValueError(
            f"{text} is not a volume", remedy="write /host/path:/container/path or /host/path:/container/path:ro"
        )
    source = os.path.expanduser(parts[0])  # noqa: PTH111 - stays text
    target = parts[1]
    for path in (source, target):
        if not path.startswith("/") or ".." in Path(path).parts:
            raise InvalidValueError(
                f"{path} is not an absolute path", remedy="write both sides of a volume as absolute paths"
            )
    return Volume(source=source, target=target, read_only=mode == "ro")


def root_of(file: str, roots: Sequence[str]) -> str | None:
    """The first root that contains a path; None if there is none."""
    path = PurePosixPath(file)
    return next((root for root in roots if ".." not in path.parts and path.is_relative_to(root)), None)


def model_volumes(files: Sequence[str], roots: Sequence[str] = ()) -> tuple[Volume, ...]:
    """The read-only volumes that a server needs to read these files, each under its own path.

    A root is mounted as a whole, since links inside it may point outside the model's folder.
    """
    shown = [root_of(path, roots) or _folder(path) for path in files if path.startswith("/")]
    return tuple(
        Volume(source=path, target=path, read_only=True, kind="File" if is_file(path) else "Directory")
        for path in dict.fromkeys(shown)
    )


def _folder(path: str) -> str:
    """The path itself; for a snapshot of the Hub, which contains links to files beside it, the model's cache folder."""
    parts = PurePosixPath(path).parts
    for index, part in enumerate(parts[:-1]):
        if part.startswith("models--") and parts[index + 1] == "snapshots":
            return str(PurePosixPath(*parts[: index + 1]))
    return path


def is_file(path: str) -> bool:
    """Whether a path looks like a file, and not like a folder with a version in its name."""
    return bool(re.search(r"\.(gguf|safetensors|bin|json|jinja|ya?ml|jsonl|txt)$", path))
