"""Launch plans and resolved values of vLLM, without a server. Log and metrics are those of real runs of vLLM 0.32.0."""

import pytest

from autotuner.engines.vllm.engine import Vllm, VllmSettings
from autotuner.plugins import loading
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.spec import EngineSpec, Model
from autotuner.testing.engine_kit import EngineConformance

HUB = Model(path="org/model-8b")
SPEC = EngineSpec(kind="vllm")
MODULE = "python3 -m vllm.entrypoints.openai.api_server"


class TestProgram(EngineConformance):
    @pytest.fixture
    def engine(self) -> Vllm:
        return Vllm(VllmSettings())


class TestModule(EngineConformance):
    @pytest.fixture
    def engine(self) -> Vllm:
        return Vllm(VllmSettings(server=MODULE))


@pytest.fixture
def engine() -> Vllm:
    return Vllm(VllmSettings())


def test_is_found_as_a_plugin() -> None:
    engine = loading.engine(EngineSpec.model_validate({"kind": "vllm", "server": "/opt/vllm/bin/vllm"}))
    assert engine.plan(HUB, SPEC, Configuration()).command == ("/opt/vllm/bin/vllm", "serve", "org/model-8b")


def test_the_launch(engine: Vllm) -> None:
    values: dict[str, Value] = {
        "tp": 2,
        "enable_prefix_caching": False,
        "enforce-eager": True,
        "async-scheduling": None,
        "compilation-config": '{"mode": 3, "cudagraph_mode": "FULL"}',
        "compilation-config.max_cudagraph_size": 8,
        "some_new_switch": False,
        "compilation-config.pass_config.fuse_x": True,
    }
    plan = engine.plan(HUB, SPEC, Configuration(values=values))
    assert plan.argv(host="0.0.0.0", port=8000) == (
        "vllm",
        "serve",
        "org/model-8b",
        "--served-model-name",
        "org/model-8b",
        "--tensor-parallel-size",
        "2",
        "--no-enable-prefix-caching",
        "--enforce-eager",
        "--compilation-config",
        '{"mode": 3, "cudagraph_mode": "FULL"}',
        "--compilation-config.max_cudagraph_size",
        "8",
        "--no-some-new-switch",
        "--compilation-config.pass_config.fuse_x",
        "true",
        "--host",
        "0.0.0.0",
        "--port",
        "8000",
    )
    argv = plan.argv(host="h", port=1)
    assert engine.flag_value(argv, "compilation-config.max-cudagraph-size") == "8"
    assert (plan.gpus, plan.model, plan.readiness.path) == (2, "org/model-8b", "/health")
    assert plan.image == "vllm/vllm-openai:v0.32.0"
    assert plan.help == ("vllm", "serve", "--help=all")
    assert (plan.needs_files, plan.hub_models) == ((), ("org/model-8b",))


@pytest.mark.parametrize(
    ("model", "args", "tuned", "expected"),
    [
        (HUB, {}, {}, {}),
        (HUB, {"revision": "v1"}, {}, {"org/model-8b": "v1"}),
        (HUB, {"revision": "v1"}, {"revision": "v2"}, {"org/model-8b": "v2"}),
        (Model(path="./m"), {"revision": "v1"}, {}, {}),
    ],
)
def test_the_revision_of_a_hub_model(
    engine: Vllm, model: Model, args: dict[str, Value], tuned: dict[str, Value], expected: dict[str, str]
) -> None:
    spec = SPEC.model_copy(update={"args": args})
    assert engine.plan(model, spec, Configuration(values=tuned)).hub_revisions == expected


def test_a_module_takes_the_model_as_a_flag() -> None:
    plan = Vllm(VllmSettings(server=MODULE)).plan(Model(path="./m", name="tiny"), SPEC, Configuration())
    assert plan.argv(host="h", port=1)[:7] == (*MODULE.split(), "--model", "./m", "--served-model-name", "tiny")
    assert (plan.needs_files, plan.hub_models) == (("./m",), ())


LOG = (
    "(APIServer pid=17139) INFO 11-25 01:49:57 [api_utils.py:347]  \N{UPPER HALF BLOCK} version 0.32.0\n"
    "(APIServer pid=17139) INFO 11-25 01:49:57 [scheduler.py:307] Chunked prefill is enabled with "
    "max_num_batched_tokens=2048.\n"
    "(EngineCore pid=18358) INFO 11-25 01:50:46 [utils.py:347] Using LBHNC KV cache layout.\n"
    "(EngineCore pid=18358) INFO 11-25 01:50:46 [cuda.py:480] Using FLASH_ATTN attention backend out of potential.\n"
    "(EngineCore pid=18358) INFO 11-25 01:50:46 [kv_cache_utils.py:2327] GPU KV cache size: 2,097,152 tokens, Maximum "
    "concurrency for 1,024 tokens per request: 2048.00x\n"
)
METRICS = (
    "# TYPE vllm:cache_config_info gauge\n"
    'vllm:cache_config_info{block_size="128",cache_dtype="auto",enable_prefix_caching="True",engine="0",'
    'gpu_memory_utilization="0.92",kv_cache_max_concurrency="2048.0",kv_cache_size_tokens="2097152",'
    'num_gpu_blocks="16384",num_cpu_blocks="None"} 1.0\n'
)


def test_resolved_values(engine: Vllm) -> None:
    assert engine.resolved({}, "", LOG) == {
        "version": "0.32.0",
        "kv-cache-tokens": 2097152,
        "max-model-len": 1024,
        "max-concurrency": 2048.0,
        "max-num-batched-tokens": 2048,
        "attention-backend": "FLASH_ATTN",
    }
    assert engine.resolved({"version": "0.32.0"}, METRICS, "") == {
        "version": "0.32.0",
        "block-size": 128,
        "kv-cache-dtype": "auto",
        "enable-prefix-caching": True,
        "gpu-memory-utilization": 0.92,
        "max-concurrency": 2048.0,
        "kv-cache-tokens": 2097152,
        "num-gpu-blocks": 16384,
    }
