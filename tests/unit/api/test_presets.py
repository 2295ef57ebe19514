"""Presets of a store: what they may be."""

import json

import pytest

import autotuner
from autotuner.api import presets as module
from autotuner.errors import NotFoundError, UsageError

TEXT = "# of the team\nengine: {kind: vllm, args: {max-model-len: 4096}}\nmodel: org/model # the usual one\n"


def test_a_preset_keeps_its_text() -> None:
    presets = autotuner.open().presets()
    saved = presets.save("chat", TEXT, by="me")
    assert (saved.name, saved.engine, saved.model, saved.updated_by) == ("chat", "vllm", "org/model", "me")
    assert presets.list() == [saved]
    assert presets.text("chat") == TEXT
    assert presets.save("chat", json.dumps({"engine": "sglang"})).engine == "sglang"
    assert [found.name for found in presets.list()] == ["chat"]
    presets.remove("chat")
    assert presets.list() == []


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("/x", "engine: vllm", "name = /x: is not a valid name"),
        ("", "engine: vllm", "name: is not a valid name"),
        ("x", "", "empty"),
        ("x", "vllm", "must be a mapping"),
        ("x", "[vllm]", "must be a mapping"),
        ("x", "engine: [", "preset:1"),
        ("x", "engine: a\nengine: b", "engine"),
        ("x", "{engine: {kind: vllm, env: {HF_TOKEN: hf_abcdefghijklmnopqrstuvwxyz0123456789}}}", "holds a secret"),
        ("x", "engine: v" + "l" * 70_000, "is longer than 65,536 characters"),
    ],
)
def test_what_is_not_a_preset_is_refused(name: str, text: str, says: str) -> None:
    presets = autotuner.open().presets()
    with pytest.raises(UsageError) as caught:
        presets.save(name, text)
    assert says in str(caught.value)
    assert "hf_abc" not in str(caught.value)
    assert presets.list() == []


def test_an_unknown_preset() -> None:
    presets = autotuner.open().presets()
    presets.save("chat-8b", "engine: vllm")
    for call in (presets.text, presets.remove):
        with pytest.raises(NotFoundError, match="preset = chat-8: unknown preset; did you mean"):
            call("chat-8")


def test_their_number_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    presets = autotuner.open().presets()
    for name in ("a", "b", "b"):
        presets.save(name, "engine: vllm")
    with pytest.raises(UsageError, match="has 2 already"):
        presets.save("c", "engine: vllm")
