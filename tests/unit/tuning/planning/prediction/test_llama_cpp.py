"""Predictions for llama.cpp on a CPU: the shape from the model file, options, and what they change."""

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autotuner.demo_model import Shape, write_tiny_gguf
from autotuner.engines.llama_cpp.engine import LlamaCpp, LlamaCppSettings
from autotuner.predict.models import shape_from_gguf
from autotuner.study.base import Value
from autotuner.study.launch import Hardware
from autotuner.study.search.forecast import OUTPUT_THROUGHPUT, TPOT, TTFT, Channel
from autotuner.study.spec import Model
from autotuner.study.workload import Concurrency, Scenario, TokenLengths, Workload
from autotuner.tuning.planning.prediction.gguf import gguf_metadata
from autotuner.tuning.planning.prediction.predictions import Predictions

HOST = Hardware(cpus=8, memory_gb=16.0)
LOAD = Workload(
    scenarios=(Scenario(text="s", input=TokenLengths(kind="fixed", a=256), output=TokenLengths(kind="fixed", a=64)),),
    levels=(Concurrency(in_flight=8),),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write_tiny_gguf(tmp_path_factory.mktemp("model") / "m.gguf"))


def predictions(model: Path, hardware: Hardware = HOST, *, here: bool = True, server: str = "xllamacpp") -> Predictions:
    return Predictions(LlamaCpp(LlamaCppSettings(server=server)), Model(path=str(model)), hardware, here=here)


def predicted(model: Path, channel: Channel, **options: Value) -> float:
    values = {name.replace("_", "-"): value for name, value in options.items()}
    found = predictions(model).forecast(values, LOAD)
    assert found is not None
    return math.exp(found.levels[0].log_mean[channel])


def test_the_shape_is_that_of_the_file(model: Path) -> None:
    metadata = gguf_metadata(model)
    assert metadata is not None
    shape = shape_from_gguf("m", metadata, model.stat().st_size)
    assert shape is not None
    made = Shape()
    assert (shape.layers, shape.hidden, shape.heads) == (made.layers, made.width, made.heads)
    assert shape.parameters * shape.native_bytes == pytest.approx(model.stat().st_size)
    assert 1.0 < shape.native_bytes < 1.3, "weights of 8.5 bits, and the list of tokens"


def test_options_change_the_forecast_as_they_change_the_server(model: Path) -> None:
    assert predicted(model, OUTPUT_THROUGHPUT, threads=4) > 1.5 * predicted(model, OUTPUT_THROUGHPUT, threads=1)
    assert predicted(model, OUTPUT_THROUGHPUT, threads=64) == predicted(model, OUTPUT_THROUGHPUT, threads=8)
    assert predicted(model, TTFT, parallel=1) > 3 * predicted(model, TTFT, parallel=8)
    assert predicted(model, TPOT, parallel=1) < predicted(model, TPOT, parallel=8)
    long = {"ctx_size": 2**20, "parallel": 8}
    assert predicted(model, TPOT, cache_type_k="q8_0", cache_type_v="q8_0", **long) <= predicted(model, TPOT, **long)


def test_no_size_of_the_cache_is_refused(model: Path) -> None:
    assert predictions(model).too_large({"ctx-size": 2**24}) is None


def test_what_is_not_known_has_no_forecast(model: Path) -> None:
    assert predictions(model, here=False).forecast({}, LOAD) is None
    assert predictions(model.with_name("absent.gguf")).forecast({}, LOAD) is None
    assert predictions(model).forecast({"embedding": True}, LOAD) is None
    with_gpu = HOST.replaced(gpus=1)
    assert predictions(model, with_gpu, server="llama-server").forecast({}, LOAD) is None
    assert predictions(model, with_gpu).forecast({}, LOAD) is not None, "the wheel computes on the CPU"


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 3000), st.binary(max_size=40))
def test_a_damaged_file_is_unknown_or_read_as_far_as_it_goes(
    model: Path, tmp_path: Path, length: int, tail: bytes
) -> None:
    damaged = tmp_path / "damaged.gguf"
    with model.open("rb") as file:
        damaged.write_bytes(file.read(length) + tail)
    metadata = gguf_metadata(damaged)
    assert metadata is None or shape_from_gguf("m", metadata, 1000) is None or metadata["vocab"]


def test_an_architecture_that_is_not_described_is_unknown(model: Path) -> None:
    metadata = gguf_metadata(model)
    assert metadata is not None
    assert shape_from_gguf("m", {**metadata, "general.architecture": "mamba"}, 1000) is None
    assert shape_from_gguf("m", {**metadata, "llama.expert_count": 8}, 1000) is None
    assert shape_from_gguf("m", {k: v for k, v in metadata.items() if "block_count" not in k}, 1000) is None
