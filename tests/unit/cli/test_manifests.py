"""``autotuner best --as kubernetes`` and other forms: the file goes to stdout, messages go to stderr."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from autotuner.engines.sglang.engine import Sglang
from support.compose_files import compose_problems

Call = Callable[..., Any]
StoreStudy = Callable[..., Any]
RUNTIME = ("--model-format", "safetensors:1.0.0", "--model-framework", "transformers:4.51.0", "--architecture", "A",
           "--size-range", "1B-8B")  # fmt: skip
FORMS = {
    "kubernetes": ((), ["Deployment", "Service"]),
    "inference-service": (("--runtime", "srt", "--model", "m"), ["InferenceService"]),
    "serving-runtime": (RUNTIME, ["ClusterServingRuntime"]),
    "compose": ((), [None]),
}


@pytest.mark.parametrize("form", FORMS)
def test_manifest_alone_goes_to_stdout(call: Call, store_study: StoreStudy, form: str) -> None:
    store_study("gpus")
    options, kinds = FORMS[form]
    done = call("best", "chat-gpus", "--as", form, *options)
    assert done.code == 0
    objects = list(YAML(typ="safe", pure=True).load_all(done.out))
    assert [thing.get("kind") for thing in objects] == kinds
    assert form != "compose" or compose_problems(done.out) == []
    assert done.err.startswith("best: trial 9, ")
    data = call("best", "chat-gpus", "--as", form, *options, "--json").data
    assert data["manifests"] == objects
    assert (data["study"], data["winner"], data["form"]) == ("chat-gpus", 9, form)


def test_manifest_can_be_written_to_a_file(call: Call, store_study: StoreStudy, tmp_path: Path) -> None:
    store_study("gpus")
    file = tmp_path / "k8s.yaml"
    done = call("best", "chat-gpus", "--as", "kubernetes", "-o", str(file))
    assert (done.code, done.out) == (0, f"{file}\n")
    assert file.read_text() == call("best", "chat-gpus", "--as", "kubernetes").out
    assert call("best", "chat-gpus", "-o", str(file), "--json").data == {"study": "chat-gpus", "written": str(file)}
    assert file.read_text() == call("best", "chat-gpus").out


def test_runtime_from_a_file(call: Call, store_study: StoreStudy, tmp_path: Path) -> None:
    store_study("gpus")
    file = tmp_path / "runtime.yaml"
    file.write_text(call("best", "chat-gpus", "--as", "serving-runtime", *RUNTIME, "--name", "base").out)
    data = call("best", "chat-gpus", "--as", "serving-runtime", "--from", str(file), "--json").data
    assert data["manifests"][0]["metadata"]["name"] == "base-tuned"
    absent = call("best", "chat-gpus", "--as", "serving-runtime", "--from", str(tmp_path / "none.yaml"), "--json")
    assert (absent.code, absent.data["error"]["kind"]) == (2, "usage")


def test_no_manifest_without_a_feasible_configuration(call: Call, store_study: StoreStudy) -> None:
    store_study("infeasible")
    done = call("best", "chat-strict", "--as", "kubernetes")
    assert (done.code, done.out) == (3, "")
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
def test_all_invalid_options_are_reported_at_once(
    call: Call, store_study: StoreStudy, words: tuple[str, ...], wrong: list[str]
) -> None:
    store_study("gpus")
    done = call("best", "chat-gpus", *words, "--json")
    assert done.code == 2
    assert [problem["where"] for problem in done.data["error"]["problems"]] == wrong
    plain = call("best", "chat-gpus", *words)
    assert (plain.code, plain.out, len(plain.err.splitlines())) == (2, "", len(wrong))


def test_winner_whose_launch_differs_is_rejected(
    call: Call, store_study: StoreStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_study("gpus")
    monkeypatch.setattr(Sglang, "always", {})  # as another version of the engine would
    done = call("best", "chat-gpus", "--as", "kubernetes", "--json")
    assert (done.code, done.data["error"]["kind"]) == (1, "failed")
    assert "argument 7 was '--enable-metrics --tp-size', and would be '--tp-size 4' now" in done.err
    assert call("best", "chat-gpus").code == 0
