"""Plugins are found through entry points, ours and others' alike; what is wrong with one is a line, not a traceback."""

import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest

from autotuner.cli.exit_codes import ExitCode, of_error
from autotuner.deployers.process import ProcessDeployer, ProcessSettings
from autotuner.engines.llama_cpp.engine import LlamaCpp
from autotuner.errors import AutotunerError, MissingExtraError, UsageError
from autotuner.plugins import loading
from autotuner.plugins.search import SearchContext
from autotuner.study.metric import Direction
from autotuner.study.parameters.space import Space
from autotuner.study.spec import PluginSpec

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


def test_the_built_in_ones_come_through_the_same_door() -> None:
    declared = {point.name: point.value for point in metadata.entry_points(group="autotuner.engines")}
    assert declared["llama_cpp"] == "autotuner.engines.llama_cpp.engine:LlamaCpp"
    for group in GROUPS:
        for kind in loading.kinds(group):
            cls = loading.load(group, kind)
            assert cls.kind == kind
            assert cls.Settings.model_json_schema()
    assert loading.load("engines", "llama_cpp") is LlamaCpp


def test_one_is_made_with_its_settings_checked() -> None:
    made = loading.deployer(spec("process", ports=[30000, 30010]))
    assert isinstance(made, ProcessDeployer)
    assert isinstance(made.settings, ProcessSettings)
    assert made.settings.ports == (30000, 30010)


@pytest.mark.parametrize(
    ("group", "kind", "said"),
    [
        ("engines", "lama_cpp", 'engine.kind = lama_cpp: unknown kind; did you mean "llama_cpp"?'),
        ("engines", "llama-cpp", 'engine.kind = llama-cpp: unknown kind; did you mean "llama_cpp"?'),
        ("deployers", "proces", 'deploy.kind = proces: unknown kind; did you mean "process"?'),
        ("benchmarks", "nativ", 'benchmark.kind = nativ: unknown kind; did you mean "native"?'),
        ("searches", "baysian", 'search.strategy = baysian: unknown kind; did you mean "bayesian"?'),
        ("searches", "zzz", "search.strategy = zzz: unknown kind; known: bayesian, grid, random"),
    ],
)
def test_an_unknown_kind(group: loading.Group, kind: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        loading.load(group, kind)
    assert str(caught.value).startswith(said)
    assert of_error(caught.value) is ExitCode.USAGE


def test_broken_settings_are_all_named() -> None:
    with pytest.raises(UsageError) as caught:
        loading.deployer(spec("process", prots=[1, 2], stop_grace=-1, host="localhost"))
    said = str(caught.value).splitlines()
    assert 'deploy.prots: unknown key; did you mean "ports"?' in said
    assert any(line.startswith("deploy.stop_grace = -1.0: must be") for line in said)
    assert any(line.startswith("deploy.host = localhost: must be an IP address") for line in said)
    assert len(said) == 3


def test_settings_of_a_search() -> None:
    context = SearchContext(space=Space(), directions=(Direction.MAX,), seed=0, trials=3)
    with pytest.raises(UsageError, match=r"search\.sampler: unknown key"):
        loading.search(spec("random", sampler="tpe"), context)


def test_another_ones_plugin_is_found(install: Install) -> None:
    install(SOURCE)
    made = loading.engine(spec("acme", speed=7))
    assert (made.kind, made.settings.speed) == ("acme", 7)  # type: ignore[attr-defined]
    assert {"acme", "llama_cpp"} <= set(loading.kinds("engines"))
    with pytest.raises(UsageError, match=r"engine\.speed = 0: must be greater than or equal to 1"):
        loading.engine(spec("acme", speed=0))
    with pytest.raises(UsageError) as caught:
        loading.engine(spec("acme", api_token=["hunter2"]))
    assert "hunter2" not in str(caught.value)


def test_a_missing_extra_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a built-in one answers when its optional dependency is not installed."""
    real = metadata.entry_points(group="autotuner.deployers")
    assert real
    own = next(point for point in real if point.name == "process")

    class Lacking:
        name = "process"
        dist = own.dist

        def load(self) -> object:
            raise ModuleNotFoundError("No module named 'kubernetes'", name="kubernetes")

    monkeypatch.setattr(loading, "entry_points", lambda group: [Lacking()])
    with pytest.raises(MissingExtraError) as caught:
        loading.load("deployers", "process")
    assert caught.value.details == {"extra": "process"}
    assert caught.value.remedy == "pip install 'llm-inference-autotuner[process]'"
    assert of_error(caught.value) is ExitCode.ENVIRONMENT


@pytest.mark.parametrize(
    ("source", "target", "said"),
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
def test_another_ones_plugin_that_cannot_be_loaded(install: Install, source: str, target: str, said: str) -> None:
    """Named with its distribution: an extra of ours would not help."""
    install(source, target=target)
    with pytest.raises(AutotunerError) as caught:
        loading.load("engines", "acme")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("the plugin acme of acme-tuning 1.0 cannot be loaded: ")
    assert said in str(caught.value)
    assert of_error(caught.value) is ExitCode.ENVIRONMENT


def test_a_broken_plugin_harms_no_other(install: Install) -> None:
    install("raise OSError('no license')")
    assert loading.load("engines", "llama_cpp") is LlamaCpp


def test_a_defect_of_ours_is_not_called_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    own = next(iter(metadata.entry_points(group="autotuner.deployers")))

    class Lacking:
        name = "process"
        dist = own.dist

        def load(self) -> object:
            raise ModuleNotFoundError("No module named 'autotuner.gone'", name="autotuner.gone")

    monkeypatch.setattr(loading, "entry_points", lambda group: [Lacking()])
    with pytest.raises(ModuleNotFoundError):
        loading.load("deployers", "process")
