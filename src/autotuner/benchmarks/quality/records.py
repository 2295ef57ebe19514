"""Stored answers of a trial: one compressed file in its folder."""

import gzip
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from autotuner.study.quality.answers import Reference
from autotuner.study.quality.tasks import TaskRun

REFERENCE_FILE = "quality-reference.json.gz"
ANSWERS_FILE = "quality-answers.json.gz"
SCORES_FILE = "quality-scores.json.gz"

M = TypeVar("M", bound=BaseModel)


def write(folder: Path, name: str, answers: BaseModel) -> None:
    """Writes answers to a trial's folder. Raises ``OSError``."""
    # without a time, the same answers give the same bytes
    (folder / name).write_bytes(gzip.compress(answers.model_dump_json().encode(), compresslevel=5, mtime=0))


def read_reference(folder: Path) -> Reference | None:
    """The answers of the default in its trial's folder; None if they are not there, or not readable."""
    return _read(folder / REFERENCE_FILE, Reference)


def read_scores(folder: Path) -> TaskRun | None:
    """The scores of the default in its trial's folder; None if they are not there, or not readable."""
    return _read(folder / SCORES_FILE, TaskRun)


def _read(file: Path, kind: type[M]) -> M | None:
    try:
        return kind.model_validate_json(gzip.decompress(file.read_bytes()))
    except (OSError, EOFError, ValidationError, gzip.BadGzipFile):
        return None
