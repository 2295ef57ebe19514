"""YAML output: every parser reads the same values back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from autotuner.manifests.yaml_text import yaml_objects, yaml_text

NASTY = (
    "on", "off", "y", "No", "true", "null", "~", "", " ", "1", "0.9", "1e3", "0x1F", "1_000", ".5", ".inf", "12:30",
    "2024-01-01", "=", "<<", "a: b", "a:", "# x", "x #y", "- x", "-", "---", "...", "%TAG", "@x", "`x`", "!x", "&x",
    "*x", "two words", '{"a": [1, "x y"]}', "it's", 'say "hi"', "a\nb", "a\n", "\ta", "\x85", "\u2028", "ünï",
    "$HOME", "$$", "$(HOME)", "$$(HOME)", "${X}", "\\n", "x" * 300,
)  # fmt: skip
TEXT = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"))


def loaded(text: str, version: tuple[int, int]) -> list[Any]:
    yaml = YAML(typ="safe", pure=True)
    yaml.version = version
    return list(yaml.load_all(text))


@pytest.mark.parametrize("text", NASTY)
def test_string_stays_a_string_in_every_yaml_version(text: str) -> None:
    thing = {"word": text, "list": [text, {"in": text}], text or "key": "as a key"}
    written = yaml_text([thing, {"n": 1, "b": True, "none": None, "f": 0.5}], [text])
    for version in ((1, 1), (1, 2)):
        assert loaded(written, version) == [thing, {"n": 1, "b": True, "none": None, "f": 0.5}]


@given(st.lists(TEXT))
def test_any_string_survives_yaml(words: list[str]) -> None:
    for version in ((1, 1), (1, 2)):
        assert loaded(yaml_text([{"words": words}]), version) == [{"words": words}]


def test_json_is_read_as_yaml() -> None:
    assert yaml_objects('{"a": [1, "on"]}') == [{"a": [1, "on"]}]


def test_invalid_yaml_is_reported_with_its_line() -> None:
    with pytest.raises(ValueError, match=r"^line 2: "):
        yaml_objects("a: 1\nb: [")
