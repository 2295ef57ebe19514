"""Policy for studies that clients of the server submit: which files, commands, images and variables they may name.

A study file decides what runs on the workers' machines. Whoever writes one on such a machine could run it anyway; a
client of the server could not. So files must lie in folders that the server was started with, for all clients, and only
administrators may choose what is executed, unless the site file allows more.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from autotuner.errors import Problem, UsageError
from autotuner.study.base import Value, parts_of
from autotuner.study.parameters.environment import is_variable
from autotuner.study.spec import EngineSpec, Model, PluginSpec, StudySpec
from autotuner.study.workload import Scenario

_HUB_MODEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
_FLAG = re.compile(r"-{0,2}[A-Za-z][A-Za-z0-9_.-]*")
_WORD = re.compile(r"[A-Za-z0-9_.@+:-]*(?:/[A-Za-z0-9_.@+:-]+)?")
"""Text of a flag that names no file and holds no further structure."""
_SEPARATORS = re.compile(r"[\s,;=:'\"{}\[\]()|<>&]+")
_FILE_URL = re.compile(r"\bfile\s*:", re.IGNORECASE)
_WEB_URL = re.compile(r"\bhttps?://[^\s,;'\"{}\[\]()|<>&]*")
_EXECUTING = re.compile(
    r"(?:^|[-_.])(?:cls|class|plugins?|middlewares?|processors?|hooks?|loader|module|script|command|cmd|exec|code|rpc"
    r"|import|python|entrypoint)(?:[-_.]|$)"
)
"""Names of flags that make an engine load or run code, such as ``trust-remote-code`` and ``worker-cls``."""
_ENGINE = frozenset({"start_timeout", "start_timeout_s", "flavor", "gpu", "gpu_count", "speed"})
_DEPLOY = frozenset({"ports", "stop_grace", "start_timeout", "cpus", "gpu_ids"})
_BENCHMARK = frozenset({"drain", "server_metrics", "workers", "limits", "max_tokens_field", "start_timeout", "backend"})
_IMAGES = ("image", "image_tag")
_ADMIN = "only an administrator may set it, unless the site file allows it"


@dataclass(frozen=True)
class Policy:
    """What one client may name in a study."""

    roots: Sequence[Path] = ()
    """Folders whose files it may name, without symbolic links."""
    trusted: bool = False
    """Whether it may choose commands, images and variables: an administrator."""
    allow: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What the site file allows other clients: ``env``, ``images``, ``flags`` and ``settings``."""

    def permitted(self, spec: StudySpec) -> StudySpec:
        """The study with every path resolved, so that a link that is changed later leads nowhere else.

        Raises:
            UsageError: With one problem per value that the client may not use.
        """
        check = _Check(self)
        workload = spec.workload.model_copy(
            update={
                "scenarios": tuple(
                    check.scenario(f"workload.scenarios[{n}]", one) for n, one in enumerate(spec.workload.scenarios)
                ),
                "tokenizer": check.optional("workload.tokenizer", spec.workload.tokenizer),
            }
        )
        found = spec.model_copy(update={"model": check.model(spec.model), "workload": workload})
        for where, engine, deploy in _servers(spec):
            check.engine(f"{where}engine", engine)
            check.plugin(f"{where}deploy", deploy, _DEPLOY)
        check.plugin("benchmark", spec.benchmark, _BENCHMARK)
        for where, name, value in _tuned(spec):
            check.value(where, name, value)
        check.tasks(spec)
        if check.problems:
            raise UsageError(check.problems)
        return found

    def permit_target(self, deploy: PluginSpec) -> None:
        """Refuses a deployer with settings that the client may not choose, because checking it uses them.

        Raises:
            UsageError: With one problem per setting.
        """
        check = _Check(self)
        check.plugin("deploy", deploy, _DEPLOY)
        if check.problems:
            raise UsageError(check.problems)


def _servers(spec: StudySpec) -> Iterator[tuple[str, EngineSpec, PluginSpec]]:
    if not spec.engines:
        yield "", spec.engine, spec.deploy
    for index, entry in enumerate(spec.engines):
        yield f"engines[{index}].", entry.engine, entry.deploy


def _tuned(spec: StudySpec) -> Iterator[tuple[str, str, Value]]:
    """Everything that a launch may set: place, flag or variable, value."""
    parts = [("", spec)] + [(f"engines[{n}].", spec.of_engine(e.name)) for n, e in enumerate(spec.engines)]
    for place, part in parts:
        for parameter in () if part.combinations else part.parameters:
            for point in parameter.listed or ({parameter.name: None},):
                for name, value in point.items():
                    yield f"{place}parameters.{parameter.name}", _own(name, part), value
        for index, point in enumerate(part.combinations):
            for name, value in point.items():
                yield f"{place}parameters[{index}].{name}", _own(name, part), value
        for name, value in part.baseline.items():
            yield f"{place}baseline.{name}", _own(name, part), value


def _own(name: str, spec: StudySpec) -> str:
    """A flag by the engine's own name, without that of its entry."""
    entries = tuple(f"{entry.name}." for entry in spec.engines)
    return next((name.removeprefix(entry) for entry in entries if name.startswith(entry)), name)


class _Check:
    """Collects the problems of one study."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._roots = [root.resolve() for root in policy.roots]
        self.problems: list[Problem] = []

    def model(self, model: Model) -> Model:
        if _HUB_MODEL.fullmatch(model.path) and not _exists(model.path):
            return model
        return model.model_copy(update={"path": self.path("model", model.path)})

    def optional(self, where: str, text: str | None) -> str | None:
        return None if text is None else self.path(where, text)

    def scenario(self, where: str, scenario: Scenario) -> Scenario:
        changes: dict[str, Any] = {}
        if scenario.mix:
            parts = [part.model_copy(update={"scenario": self.scenario(where, part.scenario)}) for part in scenario.mix]
            changes["mix"] = tuple(parts)
        if scenario.dataset:
            changes["dataset"] = self.path(where, scenario.dataset)
        if scenario.trace:
            changes["trace"] = scenario.trace.model_copy(update={"file": self.path(where, scenario.trace.file)})
        return scenario.model_copy(update=changes) if changes else scenario

    def engine(self, where: str, engine: EngineSpec) -> None:
        self.plugin(where, engine, _ENGINE)
        for name, value in engine.args.items():
            self.value(f"{where}.args.{name}", name, value)
        for name, value in engine.env.items():
            self.variable(f"{where}.env.{name}", name, value)

    def plugin(self, where: str, plugin: PluginSpec, harmless: frozenset[str]) -> None:
        """The settings of a plugin. Any of them may name a command, an image, an address or a credential, so all are
        left to administrators but those known to be harmless."""
        if self._policy.trusted:
            return
        settings = plugin.settings
        for name in settings.keys() - harmless - set(_IMAGES):
            if not self._allowed("settings", f"{where.rpartition('.')[2]}.{plugin.kind}.{name}"):
                self._refuse(f"{where}.{name}", _ADMIN)
        image = ":".join(str(settings[key]) for key in _IMAGES if settings.get(key) is not None)
        if image and not self._allowed("images", image):
            self._refuse(f"{where}.image", _ADMIN, image)

    def value(self, where: str, name: str, value: Value) -> None:
        """A flag, or a variable of the environment that is tuned."""
        if is_variable(name):
            for part in parts_of(value):
                self.variable(where, name.partition(".")[2], str(part))
            return
        if not _FLAG.fullmatch(name):
            self._refuse(where, "is not the name of a flag")
        free = self._policy.trusted or self._allowed("flags", name.lstrip("-"))
        if not free and _EXECUTING.search(name.lower()):
            self._refuse(where, f"may run code; {_ADMIN}")
        for part in parts_of(value):
            if isinstance(part, str):
                self.text(where, part)
                if not free and not _WORD.fullmatch(part) and not Path(part).is_absolute():
                    self._refuse(where, f"is more than one word; {_ADMIN}", part)

    def variable(self, where: str, name: str, value: str) -> None:
        self.text(where, value)
        if not self._policy.trusted and not self._allowed("env", name):
            self._refuse(where, _ADMIN)

    def text(self, where: str, text: str) -> None:
        """Any text that a server gets: whatever in it looks like a path must be allowed."""
        if _FILE_URL.search(text):
            self._refuse(where, "names a file by its URL", text, "write its path")
            return
        for part in _SEPARATORS.split(_WEB_URL.sub("", text)):
            if part.startswith(("/", "~", "\\")) or not {".", ".."}.isdisjoint(part.split("/")):
                self.path(where, part)

    def path(self, where: str, text: str) -> str:
        """The file or folder that a path leads to, if that is allowed."""
        path = Path(text)
        if not path.is_absolute() or "\0" in text:
            remedy = "write its absolute path" + ("" if where != "model" else ", or the ID of a Hub model")
            self._refuse(where, "is not an absolute path", text, remedy)
            return text
        try:
            real = path.resolve()
        except (OSError, RuntimeError, ValueError):  # such as a circle of links
            real = Path("/")
        if not any(real.is_relative_to(root) for root in self._roots):
            remedy = "use a folder that the server was started with: autotuner serve --allow-path DIR"
            self._refuse(where, "is outside of the folders that clients may use", text, remedy)
        return str(real)

    def tasks(self, spec: StudySpec) -> None:
        tasks = spec.quality.tasks if spec.quality is not None else None
        if tasks is None:
            return
        for text in (*tasks.names, *(str(value) for value in tasks.model_args.values())):
            self.text("quality.tasks", text)
        named: Iterable[tuple[str, object]] = (("command", tasks.command), ("model_args", tasks.model_args))
        for name, given in named:
            if given and not self._policy.trusted and not self._allowed("settings", f"quality.tasks.{name}"):
                self._refuse(f"quality.tasks.{name}", _ADMIN)

    def _allowed(self, kind: str, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._policy.allow.get(kind, ()))

    def _refuse(self, where: str, why: str, value: str = "", remedy: str = "") -> None:
        self.problems.append(Problem(where=where, value=value, why=why, remedy=remedy))


def _exists(text: str) -> bool:
    """Whether a name that may be that of a Hub model is a file or folder here, which the server would load instead."""
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return True
