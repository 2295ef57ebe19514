"""What real servers report about themselves while the load generator's own process loads them."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from autotuner.benchmarks.measure_url import AddressEndpoint
from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.measuring.server_samples import read_samples_file
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.demo_model import write_tiny_gguf
from autotuner.deployers.local import procfs
from autotuner.deployers.local.local_runner import LocalRunner
from autotuner.deployers.process import ProcessDeployer, ProcessSettings
from autotuner.engines.llama_cpp.engine import LlamaCpp, LlamaCppSettings
from autotuner.engines.simulated import Simulated, SimulatedSettings
from autotuner.net.target import Target
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import DeployContext, Endpoint
from autotuner.plugins.engine import Engine
from autotuner.report.server_diagnosis import diagnosis
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.launch import Labels
from autotuner.study.measurement import Measurement
from autotuner.study.server_metrics import ServerMetrics
from autotuner.study.spec import EngineSpec, Model
from autotuner.study.text.forms import parse_scenario
from autotuner.study.workload import Concurrency, Workload
from autotuner.testing.deployer_kit import MemoryPorts
from autotuner.testing.scripted_http import scripted_server
from autotuner.tuning.trials.running_limit import running_limit

pytestmark = pytest.mark.anyio

LABELS = Labels(study=f"metrics-{uuid4().hex[:8]}", trial=1, owner="owner")


@asynccontextmanager
async def served(engine: Engine, model: Model, folder: Path, args: Mapping[str, Value]) -> AsyncIterator[Endpoint]:
    def explain(code: int | None, tail: str, ready: bool) -> Failure:
        found = engine.explain(code, tail, ready=ready)
        return found or Failure(cause=FailureCause.CRASH_LOADING, message="unknown", exit_code=code, log_tail=tail)

    taken = procfs.listening_ports("127.0.0.1")
    first = next(p for p in range(26000 + os.getpid() % 3000, 32000) if not taken & set(range(p, p + 20)))
    deployer = ProcessDeployer(ProcessSettings(ports=(first, first + 19)))
    spec = EngineSpec(kind=engine.kind, args=dict(args), env={"OMP_WAIT_POLICY": "passive"})
    plan = engine.plan(model, spec, Configuration())
    context = DeployContext(LABELS, folder, explain, lambda _: None, MemoryPorts())
    async with deployer.deploy(plan, context) as endpoint:
        yield endpoint


async def measured(
    endpoint: Endpoint, engine: Engine, folder: Path, scenario: str, in_flight: int, **settings: Any
) -> Measurement:
    level = Concurrency(in_flight=in_flight)
    workload = Workload(
        scenarios=(parse_scenario(scenario),),
        levels=(level,),
        duration_s=3.0,
        warmup_s=1.0,
        max_duration_s=3.0,
        min_requests=0,
    )
    source = engine.server_metrics
    assert source is not None
    window = Window(
        scenario=workload.scenarios[0],
        level=level,
        workload=workload,
        labels=LABELS,
        folder=folder,
        records_name="records-0-0-0.parquet",
        server_metrics=(source,),
    )
    return await NativeBenchmark(NativeSettings(**settings)).measure(endpoint, window)


def seen_by(found: Measurement) -> ServerMetrics:
    assert found.server is not None
    return found.server


@pytest.mark.real
async def test_llama_cpp_with_two_slots_reports_a_queue(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    model = write_tiny_gguf(tmp_path / "tiny.gguf")
    engine = LlamaCpp(LlamaCppSettings(start_timeout=60))
    args: dict[str, Value] = {"threads": 1, "parallel": 2, "ctx-size": 2048}
    async with served(engine, Model(path=str(model), name="tiny"), tmp_path, args) as endpoint:
        found = await measured(endpoint, engine, tmp_path, "D(32,16)", 6)
        limit = running_limit(engine, endpoint.argv, {})
    server = seen_by(found)
    assert (server.engine, limit) == ("llama_cpp", 2)
    assert server.samples >= 1
    assert server.running is not None
    assert server.running.max == 2
    assert server.waiting is not None
    assert server.waiting.max == pytest.approx(4, abs=1)
    assert server.generated_tokens is not None
    assert server.generated_tokens > 0
    assert server.kv_usage is None  # llama.cpp divides its cache among the slots at start
    sentences = diagnosis(found.replaced(server=server.replaced(running_limit=limit)))
    assert any(sentence.startswith("parallel (2) is the limit") for sentence in sentences)
    kept = read_samples_file(tmp_path / str(server.file))
    assert len(kept.at_ns) >= 2  # the first one and the one after the load
    records = read_records(tmp_path / str(found.records))
    assert len(records) == len([at for at in records.columns["sent_ns"] if at is not None])
    assert all(asked > 0 for asked in records.columns["asked_output"])  # no request of the sampler is among them


async def test_vllm_with_a_small_kv_cache_preempts(tmp_path: Path) -> None:
    engine = Simulated(SimulatedSettings(flavor="vllm", gpu="L40S", model="Llama-3.1-8B", speed=4.0))
    args: dict[str, Value] = {"kv-cache-memory-bytes": 400_000_000, "max-model-len": 1024}
    async with served(engine, Model(path="Llama-3.1-8B"), tmp_path, args) as endpoint:
        found = await measured(endpoint, engine, tmp_path, "D(64,128)", 32)
    server = seen_by(found)
    assert server.engine == "vllm"
    assert server.kv_usage is not None
    assert server.kv_usage.max > 0.9
    assert server.preemptions is not None
    assert server.preemptions > 0
    assert server.prompt_tokens is not None
    assert any("preemption" in sentence for sentence in diagnosis(found))


async def test_sglang_reserves_its_kv_cache_for_whole_answers(tmp_path: Path) -> None:
    engine = Simulated(SimulatedSettings(gpu="L40S", model="Llama-3.1-8B", speed=4.0))
    async with served(engine, Model(path="Llama-3.1-8B"), tmp_path, {"max-total-tokens": 3000}) as endpoint:
        found = await measured(endpoint, engine, tmp_path, "D(64,128)", 32)
        limit = running_limit(engine, endpoint.argv, {"max-running-requests": 1000})
    server = seen_by(found)
    assert (server.engine, limit) == ("sglang", 1000)
    assert server.running is not None
    assert server.running.max < 20
    assert server.waiting is not None
    assert server.waiting.mean > 5
    assert server.prefix_hit_rate is not None
    sentences = diagnosis(found.replaced(server=server.replaced(running_limit=limit)))
    assert any("reserved" in sentence for sentence in sentences)


async def test_a_server_without_metrics_is_measured_as_ever_and_noted(tmp_path: Path) -> None:
    engine = Simulated(SimulatedSettings(flavor="vllm"))
    with scripted_server() as server:
        endpoint = AddressEndpoint(Target(server.url), "m", LocalRunner())
        found = await measured(endpoint, engine, tmp_path, "D(4,2)", 1)
        off = await measured(endpoint, engine, tmp_path, "D(4,2)", 1, server_metrics=False)
        asked = [a.target for a in server.asked if a.method == "GET"]
    assert found.failed == 0
    assert seen_by(found).samples == 0
    assert any("none of the known metrics" in note for note in seen_by(found).notes)
    assert off.server is None
    assert asked == ["/metrics"]
    assert seen_by(found).file is None
