"""Presets on the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner import Preset
from autotuner.cli.server.presets_page import presets_text

Call = Callable[..., Any]
TEXT = "# of the team\nengine: vllm\nmodel: Qwen/Qwen3-8B\n"


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "team.yaml"
    path.write_text(TEXT)
    return str(path)


def test_a_preset_is_saved_listed_shown_and_removed(call: Call, file: str) -> None:
    assert call("preset", "save", "chat", file).out == "chat: saved\n"
    (found,) = autotuner.open().presets().list()
    assert (found.name, found.model, "@" in found.updated_by) == ("chat", "Qwen/Qwen3-8B", True)
    listed = call("preset", "list").out
    assert [word for word in ("chat", "vllm", "Qwen/Qwen3-8B", found.updated_by) if word not in listed] == []
    assert call("preset", "show", "chat").out == TEXT
    assert call("preset", "remove", "chat").out == "chat: removed\n"
    assert call("preset", "list").out == "no presets; to save one: autotuner preset save NAME FILE\n"


def test_presets_as_json(call: Call, file: str) -> None:
    saved = call("preset", "save", "chat", file, "--json").data
    assert call("preset", "list", "--json").data == {"presets": [saved]}
    assert call("preset", "show", "chat", "--json").data == {"preset": "chat", "text": TEXT}
    assert call("preset", "remove", "chat", "--json").data == {"removed": "chat"}


def test_a_study_file_begins_with_a_preset(call: Call, file: str, tmp_path: Path) -> None:
    call("preset", "save", "chat", file)
    new = tmp_path / "study.yaml"
    assert call("preset", "show", "chat", "--out", str(new)).out == f"{new}\nnext: autotuner plan {new}\n"
    assert new.read_text() == TEXT
    assert call("preset", "show", "chat", "-o", str(new), "--json").data == {"preset": "chat", "written": str(new)}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("show chat", "preset = chat: unknown preset"),
        ("remove chat", "preset = chat: unknown preset"),
        ("save /x {file}", "name = /x: is not a valid name"),
        ("save chat missing.yaml", "missing.yaml: no such file"),
    ],
)
def test_a_wrong_name_is_one_line(words: str, says: str, call: Call, file: str) -> None:
    done = call("preset", *words.format(file=file).split())
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert says in done.err


def test_a_narrow_terminal_drops_who_saved_it() -> None:
    preset = Preset(
        name="vllm-h100", engine="vllm", model="Qwen/Qwen3-8B", updated_at=0.0, updated_by="token of a team"
    )
    assert "token of a team" in presets_text([preset], now=120.0, width=80)
    narrow = presets_text([preset], now=120.0, width=44)
    assert ("token" in narrow, "2 min" in narrow, "Qwen/Qwen3-8B" in narrow) == (False, True, True)
