"""What is true of a machine and not of a study: settings of deployers and benchmarks that every study on it gets, below
its own.

Model folders, a Docker engine's address or limits that a host refuses do not belong into each study file, and an older
task JSON has no place for them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from autotuner.errors import Problem, UsageError, did_you_mean
from autotuner.study.spec import PluginSpec, StudySpec
from autotuner.study_file.located_document import Document, read_text

Site = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Settings by section of a study file and kind: ``{"deploy": {"docker": {..}}}``."""
_SECTIONS = {"deploy": "docker: {..}", "benchmark": "genai_bench: {..}"}
"""With an example."""


def parse_site(text: str, source: str) -> Site:
    """The site file's content: ``deploy: {docker: {model_roots: [/data/models]}}``. Raises UsageError."""
    document = read_text(text, source)
    data = document.data
    if not isinstance(data, dict):
        document.fault((), "must be a mapping", remedy="write deploy: {docker: {..}}")
        raise UsageError(document.problems)
    for section, found in data.items():
        if section in _SECTIONS:
            _check(document, section, found)
        else:
            document.fault((section,), "unknown key", remedy=did_you_mean(section, list(_SECTIONS)))
    if document.problems:
        raise UsageError(document.problems)
    return {section: {kind: dict(settings) for kind, settings in found.items()} for section, found in data.items()}


def _check(document: Document, section: str, found: Any) -> None:
    if not isinstance(found, dict):
        remedy = f"write {section}: {{{_SECTIONS[section]}}}"
        document.fault((section,), "must be a mapping of kinds", value=found, remedy=remedy)
        return
    for kind, settings in found.items():
        if not isinstance(settings, dict):
            document.fault((section, kind), "must be a mapping of settings", value=settings)
        elif "kind" in settings:
            document.fault((section, kind, "kind"), "is the key above it", remedy="remove it")


def parse_settings(words: Sequence[str]) -> dict[str, Any]:
    """``namespace=tuning`` and the like, as typed: values as in a study file. Raises UsageError."""
    found = {}
    for word in words:
        name, separator, text = word.partition("=")
        if not separator or not name or name == "kind":
            raise UsageError(Problem(where="--set", value=word, why="is not a setting", remedy="write KEY=VALUE"))
        found[name] = read_text(text, f"--set {name}").data if text.strip() else text
    return found


def with_site(spec: StudySpec, site: Site, source: str) -> tuple[StudySpec, list[str]]:
    """The study with the site's settings below its own, and a note of what came from there."""
    changes = dict[str, PluginSpec]()
    notes = list[str]()
    for section, given in (("deploy", spec.deploy), ("benchmark", spec.benchmark)):
        theirs = site.get(section, {}).get(given.kind, {})
        if added := [name for name in theirs if name not in given.settings]:
            changes[section] = PluginSpec.model_validate({**theirs, **given.settings, "kind": given.kind})
            notes.append(f"{section}: {', '.join(added)} from {source}")
    return spec.model_copy(update=changes) if changes else spec, notes
