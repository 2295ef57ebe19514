"""Plugins found through entry points, built-in or not; a broken one is reported in one line, without a traceback."""

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from autotuner.cli.exit_codes import ExitCode, of_error
from autotuner.deployers.process import ProcessDeployer, ProcessSettings
from autotuner.engines.llama_cpp.engine import LlamaCpp
from autotuner.errors import AutotunerError, MissingExtraError, UsageError
from autotuner.plugins import loading
from autotuner.plugins.search import SearchContext
from autotuner.study.metric import Direction
from autotuner.study.parameters.space import Space
from autotuner.study.spec import AUTO, AUTO_STRATEGY, PluginSpec

GROUPS = ("engines", "deployers", "benchmarks", "searches")
SOURCE = """
from pydantic import BaseModel, ConfigDict, Field

from autotuner.testing.fake_engine import FakeEngine


class AcmeSettings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    speed: int = Field(default=3, ge=1)
    api_token: str = "none"


class Acme(FakeEngine):
    kind = "acme"
    Settings = AcmeSettings
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a small distribution on the path: ``install(source, group="engines", target="acme_engine:Acme")``."""
    before = set(sys.modules)

    def make(source: str, *, group: str = "engines", target: str = "acme_engine:Acme", kind: str = "acme") -> None:
        (tmp_path / "acme_engine.py").write_text(source)
        info = tmp_path / "acme_tuning-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-tuning\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[autotuner.{group}]\n{kind} = {target}\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    yield make
    for name in set(sys.modules) - before:
        if name.startswith("acme_engine"):
            del sys.modules[name]


def spec(kind: str, **settings: object) -> PluginSpec:
    return PluginSpec.model_validate({"kind": kind, **settings})


def test_built_in_plugins_are_entry_points_too() -> None:
    declared = {point.name: point.value for point in metadata.entry_points(group="autotuner.engines")}
    assert declared["llama_cpp"] == "autotuner.engines.llama_cpp.engine:LlamaCpp"
    for group in GROUPS:
        for kind in loading.kinds(group):
            cls = loading.load(group, kind)
            assert cls.kind == kind
            assert cls.Settings.model_json_schema()
    assert loading.load("engines", "llama_cpp") is LlamaCpp


def test_auto_stands_for_a_search_strategy_only() -> None:
    assert loading.load("searches", AUTO) is loading.load("searches", AUTO_STRATEGY)
    assert AUTO not in loading.kinds("searches")
    with pytest.raises(UsageError):
        loading.load("engines", AUTO)


def test_a_plugin_is_created_with_validated_settings() -> None:
    made = loading.deployer(spec("process", ports=[30000, 30010]))
    assert isinstance(made, ProcessDeployer)
    assert isinstance(made.settings, ProcessSettings)
    assert made.settings.ports == (30000, 30010)


@pytest.mark.parametrize(
    ("group", "kind", "where", "near"),
    [
        ("engines", "lama_cpp", "engine.kind", ["llama_cpp"]),
        ("engines", "llama-cpp", "engine.kind", ["llama_cpp"]),
        ("deployers", "proces", "deploy.kind", ["process"]),
        ("benchmarks", "nativ", "benchmark.kind", ["native"]),
        ("searches", "baysian", "search.strategy", ["bayesian"]),
        ("searches", "zzz", "search.strategy", ["bayesian", "calibrated", "grid", "random"]),
    ],
)
def test_an_unknown_kind_names_the_nearest_or_all(
    group: loading.Group, kind: str, where: str, near: list[str], snapshot: SnapshotAssertion
) -> None:
    with pytest.raises(UsageError) as caught:
        loading.load(group, kind)
    (problem,) = caught.value.problems
    assert (problem.where, problem.value) == (where, kind)
    assert set(re.findall(r"\w+", problem.remedy)) & set(loading.kinds(group)) == set(near)
    assert str(problem) == snapshot
    assert of_error(caught.value) is ExitCode.USAGE


def test_every_wrong_setting_is_named(snapshot: SnapshotAssertion) -> None:
    with pytest.raises(UsageError) as caught:
        loading.deployer(spec("process", prots=[1, 2], stop_grace=-1, host="localhost"))
    problems = {p.where: p for p in caught.value.problems}
    assert {where: p.value for where, p in problems.items()} == {
        "deploy.prots": "",
        "deploy.stop_grace": "-1.0",
        "deploy.host": "localhost",
    }
    assert '"ports"' in problems["deploy.prots"].remedy
    assert sorted(map(str, problems.values())) == snapshot


def test_settings_of_a_search() -> None:
    context = SearchContext(space=Space(), directions=(Direction.MAX,), seed=0, trials=3)
    with pytest.raises(UsageError) as caught:
        loading.search(spec("random", sampler="tpe"), context)
    assert [p.where for p in caught.value.problems] == ["search.sampler"]


def test_a_plugin_of_another_distribution_is_found(install: Install) -> None:
    install(SOURCE)
    made = loading.engine(spec("acme", speed=7))
    assert (made.kind, made.settings.speed) == ("acme", 7)  # type: ignore[attr-defined]
    assert {"acme", "llama_cpp"} <= set(loading.kinds("engines"))
    with pytest.raises(UsageError) as caught:
        loading.engine(spec("acme", speed=0))
    (problem,) = caught.value.problems
    assert (problem.where, problem.value) == ("engine.speed", "0")
    assert "1" in problem.why
    with pytest.raises(UsageError) as caught:
        loading.engine(spec("acme", api_token=["hunter2"]))
    assert "hunter2" not in str(caught.value)


def test_plugins_are_looked_up_again_only_when_something_was_installed_or_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    asked: list[str] = []

    def counted(group: str) -> metadata.EntryPoints:
        asked.append(group)
        return metadata.entry_points(group=group)

    monkeypatch.setattr(loading, "entry_points", counted)
    before = loading.kinds("engines")
    assert "acme" not in before
    assert loading.kinds("engines") == before
    assert asked == ["autotuner.engines"]
    info = tmp_path / "acme_tuning-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-tuning\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[autotuner.engines]\nacme = acme_engine:Acme\n")
    assert set(loading.kinds("engines")) == {*before, "acme"}
    shutil.rmtree(info)
    assert loading.kinds("engines") == before
    assert len(asked) == 3


class Lacking:
    """The entry point of a built-in deployer whose module imports a missing module."""

    def __init__(self, kind: str, missing: str) -> None:
        point = next(p for p in metadata.entry_points(group="autotuner.deployers") if p.name == kind)
        self.name = kind
        self.dist = point.dist
        self.module = point.module
        self.missing = missing

    def load(self) -> object:
        raise ModuleNotFoundError(f"No module named '{self.missing}'", name=self.missing)


@pytest.mark.parametrize(
    ("kind", "missing", "extra"),
    [("docker", "aiodocker", "docker"), ("kubernetes", "kr8s", "kubernetes"), ("ome", "kr8s", "kubernetes")],
)
def test_a_missing_extra(monkeypatch: pytest.MonkeyPatch, kind: str, missing: str, extra: str) -> None:
    monkeypatch.setattr(loading, "kinds", lambda group: {kind: Lacking(kind, missing)})
    with pytest.raises(MissingExtraError) as caught:
        loading.load("deployers", kind)
    assert caught.value.details == {"extra": extra}
    assert caught.value.remedy == f"pip install 'llm-inference-autotuner[{extra}]'"
    assert of_error(caught.value) is ExitCode.ENVIRONMENT
    assert extra in metadata.metadata("llm-inference-autotuner").get_all("Provides-Extra", [])


@pytest.mark.parametrize(
    ("source", "target", "part"),
    [
        ("import no_such_module_here", "acme_engine:Acme", "No module named 'no_such_module_here'"),
        (SOURCE, "acme_engine:Nothing", "has no attribute 'Nothing'"),
        (SOURCE, "acme_engine_2:Acme", "No module named 'acme_engine_2'"),
        ("from autotuner.plugins.engine import Gone", "acme_engine:Acme", "cannot import name 'Gone'"),
        ("from autotuner.gone import Engine", "acme_engine:Acme", "No module named 'autotuner.gone'"),
        ("def broken(:", "acme_engine:Acme", "invalid syntax"),
        ("raise OSError('no license')", "acme_engine:Acme", "no license"),
    ],
)
def test_a_broken_plugin_is_named_with_its_distribution(install: Install, source: str, target: str, part: str) -> None:
    install(source, target=target)
    with pytest.raises(AutotunerError) as caught:
        loading.load("engines", "acme")
    assert "\n" not in str(caught.value)
    assert "acme of acme-tuning 1.0" in caught.value.message
    assert part in caught.value.message
    assert "acme-tuning 1.0" in caught.value.remedy
    assert of_error(caught.value) is ExitCode.ENVIRONMENT


def test_a_broken_plugin_does_not_affect_others(install: Install) -> None:
    install("raise OSError('no license')")
    assert loading.load("engines", "llama_cpp") is LlamaCpp


@pytest.mark.parametrize(("kind", "missing"), [("kubernetes", "autotuner.gone"), ("process", "psutil")])
def test_a_defect_of_this_distribution_is_not_a_missing_extra(
    monkeypatch: pytest.MonkeyPatch, kind: str, missing: str
) -> None:
    monkeypatch.setattr(loading, "kinds", lambda group: {kind: Lacking(kind, missing)})
    with pytest.raises(ModuleNotFoundError):
        loading.load("deployers", kind)
