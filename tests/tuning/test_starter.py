"""The starter file is a valid study whatever it is made of."""

from pathlib import Path
from typing import ClassVar

import pytest

from autotuner.seams import plugins
from autotuner.study.loader import parse_study
from autotuner.study.parameter import CatalogEntry, ValueType
from autotuner.study.spec import StudySpec
from autotuner.testing.fake_engine import FakeEngine
from autotuner.tuning.starter import LISTED, starter_text


def parsed(text: str) -> StudySpec:
    return parse_study(text, source="starter.yaml", folder=Path("/models"), exists=lambda _: True).spec


@pytest.mark.parametrize("kind", sorted(plugins.kinds("engines")))
def test_it_is_a_study_of_the_engines_own_parameters(kind: str) -> None:
    engine = plugins.load("engines", kind)
    study = parsed(starter_text(name="mine", model="m.gguf", engine=engine))
    tuned = [p.name for p in study.parameters]
    assert tuned == list(engine.starters or [e.name for e in engine.catalog.values() if e.suggested][:LISTED])
    assert all(tuple(p.domain.grid() or ()) == engine.catalog[p.name].suggested for p in study.parameters)
    assert (study.name, study.engine.kind, study.deploy.kind) == ("mine", kind, engine.starter_deployer)


@pytest.mark.parametrize("kind", sorted(plugins.kinds("engines")))
def test_what_is_commented_out_can_be_switched_on(kind: str) -> None:
    engine = plugins.load("engines", kind)
    text = starter_text(name="mine", model="m.gguf", engine=engine)
    study = parsed(text.replace("\n  # ", "\n  "))
    assert {p.name for p in study.parameters} == {e.name for e in engine.catalog.values() if e.suggested}
    bounds = parsed(text.replace("# constraints:", "constraints:")).constraints
    assert bounds == ((engine.starter_constraint,) if engine.starter_constraint else ())


@pytest.mark.parametrize("name", ["123", "1e3", "true", "null", "no", "2024-01-01", "a.b_c-d", "0x10", "1_000"])
def test_names_that_yaml_takes_for_something_else(name: str) -> None:
    assert parsed(starter_text(name=name, model="m", engine=FakeEngine)).name == name


@pytest.mark.parametrize("model", ["m", "/a b/c: d.gguf", "org/name#1", "émoji-\U0001f600.gguf", 'quote".gguf', "true"])
def test_models_with_odd_names(model: str) -> None:
    path = parsed(starter_text(name="s", model=model, engine=FakeEngine)).model.path
    assert path.removeprefix("/models/") == model


def test_an_engine_without_suggestions() -> None:
    class Bare(FakeEngine):
        catalog: ClassVar = {"x": CatalogEntry(name="x", type=ValueType(kind="int"), meaning="nothing to suggest")}

    assert parsed(starter_text(name="s", model="m", engine=Bare)).parameters == ()
