"""Studies in all forms that the API accepts, read with the settings of this machine."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from autotuner.errors import UsageError
from autotuner.plugins import loading
from autotuner.secrets import remember
from autotuner.store import files
from autotuner.store.paths import site_file
from autotuner.study.spec import NAME_PATTERN, EngineSpec, PluginSpec, StudySpec
from autotuner.study_file.loader import LoadedStudy, parse_study
from autotuner.study_file.machine_settings import Site, parse_site, webhook_networks, with_site
from autotuner.tuning.planning.simulated_study import simulated_study

Study = StudySpec | LoadedStudy | Mapping[str, Any] | str | Path
"""A study: its spec, what :func:`read_study` returned, the content of a study file, or the file's path."""


def read_study(
    path: str | Path,
    *,
    name: str | None = None,
    mode: str | None = None,
    benchmark: str | None = None,
    simulate: str | None = None,
    overrides: Sequence[str] = (),
) -> LoadedStudy:
    """Read a study file (YAML or JSON), or an older task JSON.

    Args:
        path: The file; at most 1 MiB.
        name: Store the study under this name instead of the file's.
        mode: Kind of deployer to use instead of the file's.
        benchmark: Kind of benchmark to use instead of the file's.
        simulate: GPUs to simulate, such as ``H100x8``. The simulated engine replaces the file's, and the study gets a
            name that says so.
        overrides: Values to use instead of the file's, each as ``search.trials=5``.

    Returns:
        The study as ``spec``, with ``notes`` on how the file was read.

    Raises:
        UsageError: With one problem per fault in the file.

    Example:
        >>> loaded = autotuner.read_study("study.yaml", overrides=["search.trials=5"])
        >>> loaded.spec.search.trials
        5
    """
    path = Path(path)
    text = files.read_text(path, remedy="autotuner init writes one")
    loaded = parse_study(
        text,
        source=str(path),
        folder=Path.cwd() if files.is_stream(path) else path.absolute().parent.resolve(),
        exists=files.exists,
        canonical_of=canonical_of,
        mode=mode,
        benchmark=benchmark,
        overrides=overrides,
    )
    spec = loaded.spec
    remember(spec)
    if mode is not None:
        spec = spec.deployed(lambda given: given if given.kind == mode else PluginSpec(kind=mode))
    if benchmark is not None and spec.benchmark.kind != benchmark:
        spec = spec.model_copy(update={"benchmark": PluginSpec(kind=benchmark)})
    notes = loaded.notes
    if simulate is not None:
        spec = simulated_study(spec, simulate, mode=mode, benchmark=benchmark)
        notes = (*notes, f"simulated: no real GPU is measured; the study is stored as {spec.name}")
    named = loaded.named
    if name is not None:
        spec = spec.model_copy(update={"name": valid_name(name)})
        named = True
    changed = replace(loaded, spec=spec, notes=notes, named=named, source=str(path.absolute()))
    return on_this_site(changed)


def loaded_study(study: Study) -> LoadedStudy:
    """Reads any form of a study. Raises ``UsageError``."""
    if isinstance(study, LoadedStudy):
        return study
    if isinstance(study, StudySpec):
        return LoadedStudy(study)
    if isinstance(study, str | Path):
        return read_study(study)
    if isinstance(study, Mapping):
        loaded = parse_study(
            dict(study), source="study", folder=Path.cwd(), exists=files.exists, canonical_of=canonical_of
        )
        return on_this_site(loaded)
    # Reached from programs that no type checker has seen.
    raise UsageError.at(
        "study",
        f"is of type {type(study).__name__}",
        remedy="give a study file's path, its content as a mapping, or a StudySpec",
    )


@contextmanager
def placed_problems(loaded: LoadedStudy) -> Iterator[None]:
    """Adds file and line to problems of a study that show only after its file was read."""
    try:
        yield
    except UsageError as error:
        if type(error) is not UsageError or not loaded.source:
            raise
        problems = [problem.model_copy(update={"where": loaded.place(problem.where)}) for problem in error.problems]
        raise UsageError(problems) from error


def site_settings() -> Site:
    """The defaults of this machine's site file; empty if there is none."""
    path = site_file()
    if not path:
        return {}
    return parse_site(files.read_text(path, remedy="unset AUTOTUNER_SITE, or create the file"), str(path))


def allowed_networks() -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Networks that webhooks of this machine may reach, besides the public Internet. Raises ``UsageError``."""
    return webhook_networks(site_settings())


def on_this_site(loaded: LoadedStudy) -> LoadedStudy:
    """The study with the defaults of this machine's site file."""
    spec, notes = with_site(loaded.spec, site_settings(), str(site_file()))
    return replace(loaded, spec=spec, notes=(*loaded.notes, *notes), written=loaded.spec)


def valid_name(name: str, *, where: str = "--name") -> str:
    """The name, if it is a valid one of a study. Raises ``UsageError``."""
    if is_valid_name(name):
        return name
    remedy = "use letters, digits, '.', '_' and '-', at most 63, a letter or digit first"
    raise UsageError.at(where, "is not a valid name", value=name, remedy=remedy)


def is_valid_name(name: str) -> bool:
    """Whether a study may have this name."""
    return re.fullmatch(NAME_PATTERN, name) is not None


def canonical_of(spec: EngineSpec) -> Callable[[str], str]:
    """The engine's names of its flags. Raises ``UsageError`` for an unknown engine."""
    return loading.engine(spec).canonical
