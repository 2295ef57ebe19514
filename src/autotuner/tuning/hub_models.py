"""Hub models of a study, and the commits of them in this machine's cache."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from autotuner.errors import UsageError
from autotuner.plugins.deployer import Deployer, HasHubCache
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.launch import LaunchPlan
from autotuner.study.parameters.parameter import as_flags
from autotuner.tuning.planning.prepared_study import Prepared

DEFAULT_REVISION = "main"
_COMMIT = re.compile(r"[0-9a-f]{6,64}")


class HubModel(NamedTuple):
    """A model that servers download from the Hub."""

    id: str
    revision: str
    """Branch, tag or commit."""

    @property
    def text(self) -> str:
        """Name of the fact that holds its commit."""
        at = "" if self.revision == DEFAULT_REVISION else f" at revision {self.revision}"
        return f"model {self.id}{at} in the hub's cache"


def hub_models(prepared: Prepared) -> list[HubModel]:
    """The models that a study's servers download: the default's, the baseline's, and those of listed values."""
    points = [DEFAULT, Configuration(values=as_flags(prepared.spec.parameters, prepared.spec.baseline))]
    for parameter in prepared.spec.parameters:
        points += [Configuration(values=point) for point in parameter.listed]
    return list(dict.fromkeys(model for point in points for model in _models_of(prepared, point)))


def _models_of(prepared: Prepared, configuration: Configuration) -> Iterator[HubModel]:
    try:
        plan = prepared.engine.launch(prepared.model, prepared.engine_spec, configuration)
    except UsageError:  # valid only together with other parameters
        return
    for model in plan.hub_models:
        yield HubModel(model, plan.hub_revisions.get(model, DEFAULT_REVISION))


def hub_cache(deployer: Deployer, plan: LaunchPlan, env: Mapping[str, str]) -> Path:
    """Folder of the cache that servers on this machine use. ``env``: the tuner's own environment."""
    if isinstance(deployer, HasHubCache):
        return deployer.hub_cache
    values = {**env, **plan.env}
    home = values.get("HF_HOME") or f"{values.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return Path(values.get("HF_HUB_CACHE") or f"{home}/hub")


def cached_commit(model: HubModel, cache: Path) -> str:
    """The commit that a model's branch or tag stands for in the cache; empty if it is not there.

    A revision that is a commit has no such reference, and needs none: it cannot move.
    """
    try:
        refs = cache.expanduser() / f"models--{model.id.replace('/', '--')}" / "refs"
        reference = refs / model.revision
        inside = reference.is_relative_to(refs) and ".." not in reference.parts
        text = reference.read_text().strip() if inside else ""
    except (OSError, ValueError, RuntimeError):
        return ""
    return text if _COMMIT.fullmatch(text) else ""
