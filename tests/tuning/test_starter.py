"""The starter file is a valid study whatever it is made of."""

from pathlib import Path

import pytest

from autotuner.engines.llama_cpp import LlamaCpp
from autotuner.study.loader import parse_study
from autotuner.study.parameter import CatalogEntry, ValueType
from autotuner.study.spec import StudySpec
from autotuner.testing.fake_engine import FakeEngine
from autotuner.tuning.starter import LISTED, starter_text


def parsed(text: str) -> StudySpec:
    return parse_study(text, source="starter.yaml", folder=Path("/models"), exists=lambda _: True).spec


def test_it_is_a_study_of_the_engines_own_parameters() -> None:
    catalog = list(LlamaCpp.catalog.values())
    text = starter_text(name="mine", engine="llama_cpp", model="m.gguf", catalog=catalog)
    study = parsed(text)
    worth = [e for e in catalog if e.suggested]
    assert len(worth) > LISTED
    assert [p.name for p in study.parameters] == [e.name for e in worth[:LISTED]]
    assert [tuple(p.domain.grid() or ()) for p in study.parameters] == [e.suggested for e in worth[:LISTED]]
    assert (study.name, study.engine.kind) == ("mine", "llama_cpp")


def test_what_is_commented_out_can_be_switched_on() -> None:
    catalog = list(LlamaCpp.catalog.values())
    text = starter_text(name="mine", engine="llama_cpp", model="m.gguf", catalog=catalog)
    study = parsed(text.replace("\n  # ", "\n  "))
    assert [p.name for p in study.parameters] == [e.name for e in catalog if e.suggested]
    assert parsed(text.replace("# constraints:", "constraints:")).constraints == ("threads * parallel <= 16",)


@pytest.mark.parametrize("name", ["123", "1e3", "true", "null", "no", "2024-01-01", "a.b_c-d", "0x10", "1_000"])
def test_names_that_yaml_takes_for_something_else(name: str) -> None:
    assert parsed(starter_text(name=name, engine="fake", model="m", catalog=FakeEngine.catalog.values())).name == name


@pytest.mark.parametrize("model", ["m", "/a b/c: d.gguf", "org/name#1", "émoji-\U0001f600.gguf", 'quote".gguf', "true"])
def test_models_with_odd_names(model: str) -> None:
    path = parsed(starter_text(name="s", engine="fake", model=model, catalog=FakeEngine.catalog.values())).model.path
    assert path.removeprefix("/models/") == model


def test_an_engine_without_suggestions() -> None:
    entry = CatalogEntry(name="x", type=ValueType(kind="int"), meaning="nothing to suggest")
    assert parsed(starter_text(name="s", engine="fake", model="m", catalog=[entry])).parameters == ()
