"""Configurations that cannot fit are counted, explained and not proposed; what is unknown is left alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from autotuner.engines.vllm.engine import Vllm, VllmSettings
from autotuner.errors import UsageError
from autotuner.plugins.search import Stop
from autotuner.study.check import CheckStatus
from autotuner.study.configuration import Configuration
from autotuner.study.failure import FailureCause
from autotuner.study.launch import Hardware
from autotuner.study.spec import Model
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study_file.loader import parse_study
from autotuner.tuning.planning.engines.prepared_engines import prepare as prepare_engines
from autotuner.tuning.planning.prediction.misfits import Misfit, misfit
from autotuner.tuning.planning.prediction.predictions import Predictions
from autotuner.tuning.planning.prepared_study import Prepared, prepare

pytestmark = pytest.mark.anyio
H100 = Hardware(gpus=8, gpu_name="NVIDIA H100 80GB HBM3", gpu_memory_gb=79.1)
LLAMA = {
    "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 80, "hidden_size": 8192, "num_attention_heads": 64,
    "num_key_value_heads": 8, "intermediate_size": 28672, "vocab_size": 128256, "max_position_embeddings": 131072,
}  # fmt: skip


def study(**changes: Any) -> dict[str, Any]:
    return {
        "name": "misfits",
        "model": "Llama-3.1-70B",
        "engine": {"kind": "simulated", "gpu": "H100", "gpu_count": 8},
        "parameters": {"tp-size": [1, 2, 4, 8], "quantization": ["fp8", "awq"]},
        "workload": {"scenarios": ["D(100,10)"], "concurrency": [4]},
        "objective": "max output_throughput",
        "search": {"strategy": "grid", "trials": 20},
        **changes,
    }


async def prepared(**changes: Any) -> Prepared:
    parsed = parse_study(json.dumps(study(**changes)), source="study.yaml", folder=Path("/"))
    return await prepare(parsed.spec, planning=True)


async def test_the_search_never_proposes_what_cannot_fit() -> None:
    found = await prepared()
    search = found.search()
    history: list[Trial] = []
    while not isinstance(asked := search.ask(history), Stop):
        trial = Trial(study="m", number=len(history), role=TrialRole.SEARCH, configuration=asked)
        history.append(trial.replaced(state=TrialState.FAILED))
    proposed = [(t.configuration.values["tp-size"], t.configuration.values["quantization"]) for t in history]
    assert (1, "fp8") not in proposed
    assert len(proposed) == len(set(proposed)) == found.size.launchable == 8 - found.size.misfits
    assert found.size.misfits >= 1
    refused = found.misfit(Configuration(values={"tp-size": 1, "quantization": "fp8"}))
    assert refused is not None
    assert refused.cause is FailureCause.KV_CACHE_TOO_SMALL
    assert found.misfit(Configuration(values={"tp-size": 8, "quantization": "fp8"})) is None


async def test_the_plan_counts_and_explains_them() -> None:
    found = await prepared()
    notes = [c for c in await found.preflight() if c.status is CheckStatus.WARN]
    [counted] = [c for c in notes if c.name == "parameters"]
    assert f"{found.size.misfits} of 8 configurations cannot fit" in counted.detail
    assert "the weights take" in counted.detail
    assert any("default cannot fit" in c.detail for c in notes)


async def test_a_fraction_that_is_too_low_is_to_be_raised_rather_than_gpus_added() -> None:
    args = {"mem-fraction-static": 0.1}
    engine = {"kind": "simulated", "flavor": "sglang", "gpu": "H100", "gpu_count": 1}
    low = {"model": "Qwen3-8B", "engine": {**engine, "args": args}, "search": {}}
    with pytest.raises(UsageError, match=r"weights take .*; raise mem-fraction-static$"):
        await prepared(**low, parameters={"max-running-requests": [8, 16]})
    found = await prepared(**{**low, "engine": engine}, parameters={"mem-fraction-static": [0.1, 0.8]})
    refused = found.misfit(Configuration(values={"mem-fraction-static": 0.1}))
    assert refused is not None
    assert refused.failure.remedy == "raise mem-fraction-static"
    baseline = {"mem-fraction-static": 0.1}
    notes = await (
        await prepared(**{**low, "engine": engine}, parameters={"mem-fraction-static": [0.1, 0.8]}, baseline=baseline)
    ).preflight()
    assert any("baseline cannot fit" in c.detail and "raise mem-fraction-static" in c.remedy for c in notes)


async def test_a_space_without_anything_that_fits_is_refused() -> None:
    with pytest.raises(UsageError, match=r"none of the 2 configurations can be launched; .*the weights take"):
        await prepared(model="DeepSeek-V3", parameters={"tp-size": [1, 2]})


def misfit_of(path: str, hardware: Hardware = H100, *, here: bool = True, **flags: int) -> Misfit | None:
    predictions = Predictions(Vllm(VllmSettings()), Model(path=path), hardware, here=here)
    return misfit(predictions.too_large({name.replace("_", "-"): value for name, value in flags.items()}))


def test_a_hub_model_is_judged_by_an_unmistakable_name() -> None:
    found = misfit_of("meta-llama/Llama-3.1-70B-Instruct")
    assert found is not None
    assert found.cause is FailureCause.GPU_OUT_OF_MEMORY_LOADING
    assert "cannot fit" in found.failure.message
    assert misfit_of("meta-llama/Llama-3.1-70B-Instruct", tensor_parallel_size=4) is None
    assert misfit_of("someone/Llama-3.1-70B-Instruct-AWQ") is None


def test_a_local_model_is_judged_by_its_config_if_that_is_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    assert misfit_of(str(tmp_path)) is not None
    assert misfit_of(str(tmp_path), here=False) is None
    assert misfit_of(str(tmp_path / "absent")) is None


def test_a_replaced_model_is_judged_by_its_new_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    assert misfit_of(str(tmp_path)) is not None
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, "num_hidden_layers": 8}))
    assert misfit_of(str(tmp_path)) is None


UNKNOWN = (
    {"architectures": ["Mamba"]},
    {"quantization_config": "fp8"},
    {"quantization_config": [1]},
    {"num_attention_heads": 0},
    {"vocab_size": float("inf")},
    {"layer_types": 5},
)


@pytest.mark.parametrize("text", ["{", "[]", "\ufeff\ufffd", *(json.dumps({**LLAMA, **odd}) for odd in UNKNOWN)])
def test_a_config_that_cannot_be_read_decides_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert misfit_of(str(tmp_path)) is None


def test_an_unknown_gpu_decides_nothing() -> None:
    model = "meta-llama/Llama-3.1-70B-Instruct"
    for name in ("", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "AMD Instinct MI300X"):
        assert misfit_of(model, H100.replaced(gpu_name=name)) is None
    assert misfit_of(model, H100.replaced(gpu_memory_gb=180.0)) is None, "boards with more memory exist"


def test_servers_that_differ_in_other_flags_are_judged_once(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(LLAMA))
    predictions = Predictions(Vllm(VllmSettings()), Model(path=str(tmp_path)), H100, here=True)
    first = predictions.too_large({"tensor-parallel-size": 1})
    assert first is not None
    assert predictions.too_large({"tensor-parallel-size": 1, "seed": 3, "async-scheduling": True}) is first
    assert predictions.too_large({"tensor-parallel-size": 1, "quantization": "fp8"}) is not first
    assert predictions.too_large({"tensor-parallel-size": 8}) is None
    config.write_text(json.dumps({**LLAMA, "num_hidden_layers": 8}))
    assert predictions.too_large({"tensor-parallel-size": 1}) is None, "the model has been replaced"


TIGHT: dict[str, Any] = {"kind": "simulated", "flavor": "sglang", "gpu": "RTX-4090"}
LOW = {"args": {"mem-fraction-static": 0.6}, "parameters": {"max-running-requests": [4, 8]}}
FITS = {"args": {"context-length": 4096}, "parameters": {"max-running-requests": [4, 8]}}


async def of_engines(*entries: dict[str, Any]) -> Prepared:
    content = study(model="Qwen3-8B", engines=[{"name": f"e{i}", **TIGHT, **e} for i, e in enumerate(entries)])
    parsed = parse_study(
        json.dumps({k: v for k, v in content.items() if k not in ("engine", "parameters")}),
        source="study.yaml",
        folder=Path("/"),
    )
    return await prepare_engines(parsed.spec, planning=True)


async def test_an_engine_of_which_nothing_fits_does_not_refuse_the_others() -> None:
    found = await of_engines(LOW, FITS)
    assert (found.size.launchable, found.size.misfits) == (2, 2)
    warned = {c.name: c for c in await found.preflight() if c.status is CheckStatus.WARN}
    assert warned["e0: parameters"].detail.startswith("this engine is not searched: none of the 2 configurations")
    assert warned["e0: parameters"].remedy == "raise mem-fraction-static"
    assert "e1: parameters" not in warned


@pytest.mark.parametrize(
    "other", [{**LOW, "args": {"mem-fraction-static": 0.5}}, {"args": {"mem-fraction-static": 0.5}}]
)
async def test_several_engines_of_which_nothing_fits_are_refused(other: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"none of the 2 configurations can be launched"):
        await of_engines(LOW, other)


async def test_a_default_without_parameters_that_fits_is_launched() -> None:
    assert (await of_engines(LOW, {"args": FITS["args"]})).size.launchable == 1


async def test_plan_says_what_is_refused() -> None:
    """Otherwise a count of fewer points than the file has is all that shows it."""
    found = await prepared(parameters={"tp-size": [4, 16], "torch-compile-max-bs": [None, 8]})
    assert (found.size.refused, found.size.launchable) == (3, 1)
    warning = next(c for c in await found.preflight() if c.name == "parameters" and "refused" in c.detail)
    assert warning.status is CheckStatus.WARN
    assert warning.detail.startswith(
        "3 of 4 configurations are refused and not launched; "
        "tp-size=4 torch-compile-max-bs=8: torch-compile-max-bs has no effect without enable-torch-compile; "
        "tp-size=16 torch-compile-max-bs=-: tp-size needs 16 GPUs; the simulated machine has 8"
    )


async def test_what_is_refused_everywhere_names_the_flag() -> None:
    with pytest.raises(UsageError) as caught:
        await prepared(parameters={"torch-compile-max-bs": [4, 8]})
    assert caught.value.problems[0].why == (
        "none of the 2 configurations can be launched; "
        "torch-compile-max-bs=4: torch-compile-max-bs has no effect without enable-torch-compile"
    )
