"""``autotuner best --as kubernetes`` and the like: the file goes to stdout, messages go to stderr."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from autotuner.engines.sglang.engine import Sglang

Call = Callable[..., Any]
Keep = Callable[..., Any]
RUNTIME = ("--model-format", "safetensors:1.0.0", "--model-framework", "transformers:4.51.0", "--architecture", "A",
           "--size-range", "1B-8B")  # fmt: skip
FORMS = {
    "kubernetes": ((), ["Deployment", "Service"]),
    "inference-service": (("--runtime", "srt", "--model", "m"), ["InferenceService"]),
    "serving-runtime": (RUNTIME, ["ClusterServingRuntime"]),
    "compose": ((), [None]),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_file_alone_is_on_standard_output(call: Call, keep: Keep, form: str) -> None:
    keep("gpus")
    options, kinds = FORMS[form]
    said = call("best", "chat-gpus", "--as", form, *options)
    assert said.code == 0
    objects = list(YAML(typ="safe", pure=True).load_all(said.out))
    assert [thing.get("kind") for thing in objects] == kinds
    assert said.err.startswith("best: trial 9, ")
    data = call("best", "chat-gpus", "--as", form, *options, "--json").data
    assert data["manifests"] == objects
    assert (data["study"], data["winner"], data["form"]) == ("chat-gpus", 9, form)


def test_a_file_can_be_written(call: Call, keep: Keep, tmp_path: Path) -> None:
    keep("gpus")
    file = tmp_path / "k8s.yaml"
    said = call("best", "chat-gpus", "--as", "kubernetes", "-o", str(file))
    assert (said.code, said.out) == (0, f"{file}\n")
    assert file.read_text() == call("best", "chat-gpus", "--as", "kubernetes").out
    assert call("best", "chat-gpus", "-o", str(file), "--json").data == {"study": "chat-gpus", "written": str(file)}
    assert file.read_text() == call("best", "chat-gpus").out


def test_a_runtime_comes_from_a_file(call: Call, keep: Keep, tmp_path: Path) -> None:
    keep("gpus")
    file = tmp_path / "runtime.yaml"
    file.write_text(call("best", "chat-gpus", "--as", "serving-runtime", *RUNTIME, "--name", "base").out)
    data = call("best", "chat-gpus", "--as", "serving-runtime", "--from", str(file), "--json").data
    assert data["manifests"][0]["metadata"]["name"] == "base-tuned"
    absent = call("best", "chat-gpus", "--as", "serving-runtime", "--from", str(tmp_path / "none.yaml"), "--json")
    assert (absent.code, absent.data["error"]["kind"]) == (2, "usage")


def test_nothing_feasible_makes_no_manifest(call: Call, keep: Keep) -> None:
    keep("infeasible")
    said = call("best", "chat-strict", "--as", "kubernetes")
    assert (said.code, said.out) == (3, "")
    as_json = call("best", "chat-strict", "--as", "compose", "--json")
    assert (as_json.code, as_json.data["winner"]) == (3, None)


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (("--as", "inference-service"), ["--runtime", "--model"]),
        (("--as", "serving-runtime", "--model-format", "x"), ["--model-framework", "--architecture", "--size-range"]),
        (("--as", "compose", "--pvc", "x", "--namespace", "y"), ["--namespace", "--pvc"]),
        (("--image", "x"), ["--image"]),
    ],
)
def test_what_is_wrong_is_said_at_once(call: Call, keep: Keep, words: tuple[str, ...], wrong: list[str]) -> None:
    keep("gpus")
    said = call("best", "chat-gpus", *words, "--json")
    assert said.code == 2
    assert [problem["where"] for problem in said.data["error"]["problems"]] == wrong
    plain = call("best", "chat-gpus", *words)
    assert (plain.code, plain.out, len(plain.err.splitlines())) == (2, "", len(wrong))


def test_a_winner_that_would_be_another_server_is_refused(
    call: Call, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep("gpus")
    monkeypatch.setattr(Sglang, "always", {})  # as another version of the engine would
    said = call("best", "chat-gpus", "--as", "kubernetes", "--json")
    assert (said.code, said.data["error"]["kind"]) == (1, "failed")
    assert "argument 7 was '--enable-metrics --tp-size', and would be '--tp-size 4' now" in said.err
    assert call("best", "chat-gpus").code == 0
