"""Watch over the environment of a study: everything besides its file that its numbers depend on.

The facts are those of :mod:`autotuner.study.environment_facts`.
"""

import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from anyio.to_thread import run_sync

from autotuner.plugins.deployer import Deployer
from autotuner.secrets import clean, secrets_in
from autotuner.study.base import Value, parts_of
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.environment_facts import SETTINGS, Fact, Facts, differences, fact_name
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.launch import LaunchPlan
from autotuner.study.parameters.parameter import as_flags
from autotuner.study.spec import digest_of
from autotuner.tuning.fingerprints import Fingerprints
from autotuner.tuning.hub_models import cached_commit, hub_cache, hub_models
from autotuner.tuning.planning.prepared_study import Prepared

_SHARED_LIBRARIES = ("*.so", "*.so.*")
START_OVER = "run with --fresh (keeps the old trials under another name), or with --name NEW"


def environment_changed(changed: Sequence[str]) -> Failure:
    """The failure of a trial whose numbers could not be compared with those of the others."""
    message = "; ".join(changed)
    return Failure(cause=FailureCause.WORLD_CHANGED, message=message, remedy=f"restore it, or {START_OVER}")


class EnvironmentWatch:
    """Reads what a study's numbers depend on at its start, and again before and after each launch. Starts nothing.

    Facts about one of several engines stand under the engine's name, and concern its trials only.
    """

    def __init__(self, prepared: Prepared) -> None:
        self._spec = prepared.spec
        self._engines = {name: _EngineWatch(engine) for name, engine in prepared.by_engine.items()}
        secrets = frozenset(secrets_in(self._spec))  # a rotated secret starts the same server
        self._pinned = {
            entry.name: f"{entry.engine.kind} {digest_of(clean(entry.measured, secrets))}"
            for entry in self._spec.engines
        }
        self.known: dict[str, Fact] = {}
        """Facts as they were when the study's trials ran."""
        self._published: frozenset[str] = frozenset()

    def publish(self) -> Facts:
        """All known facts, to be written into an event."""
        self._published = frozenset(self.known)
        return dict(self.known)

    def publish_if_more(self) -> Facts:
        """All known facts if there are more of them than were last published; otherwise nothing."""
        return self.publish() if self.known.keys() - self._published else {}

    async def read(self) -> dict[str, Fact]:
        """All facts that can be known now."""
        found: dict[str, Fact] = {}
        for name in self._engines:
            found |= await self._read(name)
        return found

    async def changes(self, configuration: Configuration = DEFAULT) -> list[str]:
        """What has changed for trials of a configuration, one line each. Facts that become known are remembered from
        now on."""
        return self._compared(await self._read(self._spec.engine_name(configuration)))

    def changes_in(self, configuration: Configuration, facts: Mapping[str, str]) -> list[str]:
        """Like :meth:`changes`, for facts that a running server reports."""
        name = self._spec.engine_name(configuration)
        return self._compared({fact_name(name, fact): Fact(state=state) for fact, state in facts.items()})

    async def _read(self, name: str) -> dict[str, Fact]:
        found = await self._engines[name].read()
        own = {SETTINGS: Fact(state=self._pinned[name])} if name in self._pinned else {}
        return {fact_name(name, fact): known for fact, known in {**own, **found}.items()}

    def _compared(self, now: Facts) -> list[str]:
        found = differences(self.known, now)
        self.known = {**now, **self.known}
        return found


class _EngineWatch:
    """Reads the facts of one engine."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._plan = prepared.engine.launch(prepared.model, prepared.engine_spec, DEFAULT)
        self._hub_models = hub_models(prepared)
        self._prints = Fingerprints()

    async def read(self) -> dict[str, Fact]:
        """All facts that can be known now."""
        found = await run_sync(self._here)
        reported = await self._prepared.deployer.facts(self._plan)
        return {**found, **{name: Fact(state=state) for name, state in reported.items()}}

    def _here(self) -> dict[str, Fact]:
        prepared = self._prepared
        facts = {name: Fact(state=state) for name, state in self._of_this_machine()}
        for name, path in self._paths():
            if (fact := self._prints.of(path)) is not None:
                facts[name] = fact
        if prepared.base_version:
            facts["runtime"] = Fact(state=prepared.base_version)
        return facts

    def _of_this_machine(self) -> Iterator[tuple[str, str]]:
        deployer = self._prepared.deployer
        hardware = self._prepared.hardware
        if not deployer.here:
            return
        gpus = f", {hardware.gpus} GPUs {hardware.gpu_name}".rstrip() if hardware.gpus else ""
        if not self._prepared.hardware_assumed:
            yield "machine", f"{hardware.cpus} CPUs ({_processor()}){gpus}"
        if deployer.image(self._plan) is None:
            yield from _packages(self._plan)
        cache = hub_cache(deployer, self._plan, os.environ)
        for model in self._hub_models:
            if commit := cached_commit(model, cache):
                yield model.text, f"revision {commit}"

    def _paths(self) -> Iterator[tuple[str, Path]]:
        prepared = self._prepared
        deployer = prepared.deployer
        plan = self._plan
        workload = prepared.spec.workload
        for scenario in (part for whole in workload.scenarios for part in whole.parts):
            if scenario.dataset:
                yield "dataset", Path(scenario.dataset)
            if scenario.trace:
                yield "trace", Path(scenario.trace.file)
        if workload.tokenizer:
            yield "tokenizer", Path(workload.tokenizer)
        if not deployer.here:
            return
        if _is_path(prepared.model.path):
            yield "model", Path(prepared.model.path).expanduser()
        yield from _program(plan, deployer)
        stated = as_flags(prepared.spec.parameters, prepared.spec.baseline)
        values: list[tuple[str, Value]] = [*prepared.fixed.items(), *stated.items()]
        for parameter in prepared.spec.parameters:
            values += [(flag, value) for point in parameter.listed for flag, value in point.items()]
        for name, value in values:
            for part in parts_of(value):
                if isinstance(part, str) and _is_path(part):
                    yield f"{name} {part}", Path(part).expanduser()


def _program(plan: LaunchPlan, deployer: Deployer) -> Iterator[tuple[str, Path]]:
    """The server's program and the shared libraries installed beside it."""
    if not plan.command or deployer.image(plan) is not None:
        return
    found = shutil.which(plan.command[0], path=plan.env.get("PATH"))
    if found is None:
        return
    program = Path(found)
    if program.name.startswith("python"):  # its packages say more, and it is the tuner's own at times
        for word in plan.command[1:]:
            if word.endswith(".py") and _is_path(word):
                yield "server script", Path(word)
        return
    yield "server program", program
    real = program.resolve()
    for folder in {real.parent, real.parent.parent / "lib"}:
        if folder.name in {"bin", "sbin"} or str(folder) in {"/lib", "/usr/lib", "/usr/local/lib"}:
            continue  # shared with all other programs
        for pattern in _SHARED_LIBRARIES:
            for library in sorted(folder.glob(pattern))[:50]:
                yield f"server library {library.name}", library


def _packages(plan: LaunchPlan) -> Iterator[tuple[str, str]]:
    """Versions of the server's own Python packages, from its interpreter's environment."""
    site = _site_packages(plan)
    names = {module.partition(".")[0] for module in plan.needs_modules} | {Path(plan.command[0]).name}
    for flag, module in zip(plan.command, plan.command[1:], strict=False):
        if flag == "-m":
            names.add(module.partition(".")[0])
    for name in sorted(names - {"autotuner"}):
        if site is not None:
            found = next(iter(sorted(site.glob(f"{name.replace('-', '_')}-*.dist-info"))), None)
            if found is not None:
                yield f"server package {name}", found.name.removesuffix(".dist-info")
        elif plan.needs_modules:
            try:
                yield f"server package {name}", f"{name}-{version(name)}"
            except PackageNotFoundError:
                continue


def _site_packages(plan: LaunchPlan) -> Path | None:
    """``site-packages`` of the Python that runs a script; None if the program is not a Python script."""
    found = shutil.which(plan.command[0], path=plan.env.get("PATH")) if plan.command else None
    if found is None:
        return None
    program = Path(found)
    if not program.name.startswith("python"):
        try:
            with program.open("rb") as stream:
                first = stream.readline(300)
        except OSError:
            return None
        line = first.decode(errors="replace").strip()
        if not line.startswith("#!") or "python" not in line:
            return None
        program = Path(line.removeprefix("#!").split()[0])
    return next(iter(sorted(program.parent.parent.glob("lib/python3*/site-packages"))), None)


def _is_path(text: str) -> bool:
    """Whether a value names an existing file or folder. A bare word is not a path."""
    if "/" not in text:
        return False
    try:
        return Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
