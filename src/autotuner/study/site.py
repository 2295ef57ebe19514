"""What is true of a machine and not of a study: deployer settings that every study on it gets, below its own.

Model folders, a Docker engine's address or limits that a host refuses do not belong into each study file, and an older
task JSON has no place for them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from autotuner.study.document import Document, read_text
from autotuner.study.errors import Problem, UsageError, did_you_mean
from autotuner.study.spec import PluginSpec, StudySpec

Site = Mapping[str, Mapping[str, Any]]
"""Settings by kind of deployer."""


def parse_site(text: str, source: str) -> Site:
    """The site file's content: ``deploy: {docker: {model_roots: [/data/models]}}``. Raises UsageError."""
    document = read_text(text, source)
    data = document.data
    if not isinstance(data, dict):
        document.fault((), "must be a mapping", remedy="write deploy: {docker: {..}}")
        raise UsageError(document.problems)
    for key in data:
        if key != "deploy":
            document.fault((key,), "unknown key", remedy=did_you_mean(key, ["deploy"]))
    found = data.get("deploy", {})
    _check(document, found)
    if document.problems:
        raise UsageError(document.problems)
    return {kind: dict(settings) for kind, settings in found.items()}


def _check(document: Document, found: Any) -> None:
    if not isinstance(found, dict):
        remedy = "write deploy: {docker: {..}}"
        document.fault(("deploy",), "must be a mapping of deployers", value=found, remedy=remedy)
        return
    for kind, settings in found.items():
        if not isinstance(settings, dict):
            document.fault(("deploy", kind), "must be a mapping of settings", value=settings)
        elif "kind" in settings:
            document.fault(("deploy", kind, "kind"), "is the key above it", remedy="remove it")


def parse_settings(words: Sequence[str]) -> dict[str, Any]:
    """``namespace=tuning`` and the like, as typed: values as in a study file. Raises UsageError."""
    found = {}
    for word in words:
        name, separator, text = word.partition("=")
        if not separator or not name or name == "kind":
            raise UsageError(Problem(where="--set", value=word, why="is no setting", remedy="write KEY=VALUE"))
        found[name] = read_text(text, f"--set {name}").data if text.strip() else text
    return found


def with_site(spec: StudySpec, site: Site, source: str) -> tuple[StudySpec, list[str]]:
    """The study with the site's settings below its own, and a note of what came from there."""
    theirs, own = site.get(spec.deploy.kind, {}), spec.deploy.settings
    added = [name for name in theirs if name not in own]
    if not added:
        return spec, []
    deploy = PluginSpec.model_validate({**theirs, **own, "kind": spec.deploy.kind})
    note = f"deploy: {', '.join(added)} from {source}"
    return spec.model_copy(update={"deploy": deploy}), [note]
