"""Validates the sections of a study file one by one, so that a problem in one does not hide those of another."""

from collections.abc import Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError, create_model
from pydantic.fields import FieldInfo

from autotuner.study.base import Value
from autotuner.study.problems import MAX_DETAILED, problems_of
from autotuner.study_file.combinations import read_combinations
from autotuner.study_file.engines.forms import MAX_ENGINES, EngineEntryForm, EngineForm
from autotuner.study_file.form_fields import FileForm
from autotuner.study_file.forms import SearchForm, StudyFile
from autotuner.study_file.located_document import Document, Path

_MOST_KEYS = 200
"""Keys of a section that are compared with the known ones; a key beyond them is unlikely to be a misspelling."""
_OPEN: Mapping[str, type[BaseModel]] = {"search": SearchForm, "engine": EngineForm}
"""Sections that take further keys for plugins. A near miss of a known key is an error there too."""
_SECTIONS: Mapping[str, type[BaseModel]] = {
    key: create_model(f"Section_{key}", __base__=FileForm, **{key: (info.annotation, info)})  # type: ignore[call-overload]
    for key, info in StudyFile.model_fields.items()
}


class Sections:
    """The sections of a document that are valid; the problems of the others go to the document."""

    def __init__(self, document: Document, fields: Mapping[str, FieldInfo] = StudyFile.model_fields) -> None:
        self._document = document
        self.valid: dict[str, Any] = {}
        """Forms by key, with the defaults of sections that are left out."""
        self.combinations: list[dict[str, Value]] = []
        """``parameters`` as written, if it is a list; the section itself is then empty."""
        for key in document.data:
            if key not in fields:
                document.unknown((key,), list(fields))
        for key, info in fields.items():
            self._read(key, info)
        if "engine" in document.data and "engines" in document.data:
            document.fault(("engines",), "use engine or engines, not both", remedy="move engine into the list")

    def _read(self, key: str, info: FieldInfo) -> None:
        document = self._document
        if key not in document.data:
            if key == "engine" and "engines" in document.data:
                return
            if info.is_required():
                document.fault((key,), "missing", remedy="this key is required")
            else:
                self.valid[key] = info.get_default(call_default_factory=True)
            return
        written = document.data[key]
        if key == "parameters" and isinstance(written, list):
            self.combinations = read_combinations(written, document)
            self.valid[key] = {}
            return
        try:
            self.valid[key] = getattr(_SECTIONS[key].model_validate({key: written}), key)
        except ValidationError as error:
            self._note_problems(error)
        if key in _OPEN and isinstance(written, dict):
            self._note_near_misses((key,), written, list(_OPEN[key].model_fields))
        if key == "engines" and isinstance(written, list):
            for index, entry in enumerate(written[:MAX_ENGINES]):
                if isinstance(entry, dict):
                    self._note_near_misses((key, index), entry, list(EngineEntryForm.model_fields))

    def _note_problems(self, error: ValidationError) -> None:
        """Adds one problem per place: pydantic reports one for each member of a union."""
        seen: set[Path] = set()
        paths = [self._path(details["loc"]) for details in error.errors(include_url=False)]
        for problem, path in zip(problems_of(error, StudyFile), paths, strict=True):
            if path not in seen:
                seen.add(path)
                detailed = len(seen) <= MAX_DETAILED
                placed = problem.model_copy(update={"where": self._document.where(path)}) if detailed else problem
                self._document.problems.append(placed)

    def _path(self, location: Path) -> Path:
        """The part of pydantic's location that exists in the file; pydantic also names members of unions."""
        current = self._document.data
        path = list[str | int]()
        for index, part in enumerate(location):
            inside = isinstance(current, dict) and part in current
            if inside or (isinstance(current, list) and isinstance(part, int) and part < len(current)):
                path.append(part)
                current = current[part]
            elif isinstance(part, int) and not isinstance(current, list):
                continue  # a single value in place of a list
            elif isinstance(part, str) and isinstance(current, list):
                continue  # a key that the short form leaves out
            elif index == len(location) - 1 and isinstance(current, dict):
                path.append(part)
            else:
                break
        return tuple(path)

    def _note_near_misses(self, path: Path, written: Mapping[str, Any], known: list[str]) -> None:
        search = path == ("search",)
        candidates = sorted({*known, "strategy" if search else "kind"})
        for key in islice(written, _MOST_KEYS):
            near = get_close_matches(key, candidates, n=1, cutoff=0.8)
            if search and key == "kind":
                near = ["strategy"]  # every other plugin is chosen by its kind
            if key not in known and near:
                self._document.fault((*path, key), "unknown key", remedy=f'did you mean "{near[0]}"?')
