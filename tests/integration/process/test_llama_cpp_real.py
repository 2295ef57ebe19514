"""A real llama.cpp server as a child process."""

import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.demo_model import write_tiny_gguf
from autotuner.deployers import process
from autotuner.deployers.local import procfs
from autotuner.deployers.local.ports import Ports
from autotuner.deployers.process import ProcessDeployer, ProcessSettings
from autotuner.engines.llama_cpp.engine import LlamaCpp, LlamaCppSettings
from autotuner.plugins.deployer import Endpoint
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Blame, FailureCause
from autotuner.study.launch import Hardware, LaunchPlan
from autotuner.study.spec import EngineSpec, Model
from autotuner.study.text.forms import parse_scenario
from autotuner.study.workload import Api, Concurrency
from autotuner.testing.benchmark_kit import make_window
from autotuner.testing.deployer_kit import LABELS as KIT
from autotuner.testing.deployer_kit import DeployerCase, DeployerConformance, Recorder
from autotuner.testing.engine_kit import reads_as, sample
from support.processes import free_range
from support.real_servers import context, deployer, failed_start, no_process_is_left, server_pids

__all__ = ["deployer", "no_process_is_left"]

pytest.importorskip("xllamacpp")
pytestmark = [pytest.mark.anyio, pytest.mark.real]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture
def engine() -> LlamaCpp:
    return LlamaCpp(LlamaCppSettings(start_timeout=60))


def plan(engine: LlamaCpp, model: Path, values: Mapping[str, Value], **args: Value) -> LaunchPlan:
    """A plan with one thread that does not spin, unless ``args`` sets another, so that a busy machine only slows it."""
    arguments = {"threads": 1, **{k.replace("_", "-"): v for k, v in args.items()}}
    spec = EngineSpec(kind="llama_cpp", args=arguments, env={"OMP_WAIT_POLICY": "passive"})
    return engine.plan(Model(path=str(model), name="tiny"), spec, Configuration(values=values))


@asynccontextmanager
async def running_server(
    engine: LlamaCpp, deployer: ProcessDeployer, folder: Path, launch: LaunchPlan
) -> AsyncIterator[tuple[Endpoint, httpx.AsyncClient]]:
    async with (
        deployer.deploy(launch, context(engine, folder)) as endpoint,
        httpx.AsyncClient(base_url=endpoint.url, timeout=120, trust_env=False) as client,
    ):
        yield endpoint, client


def other_samples(engine: LlamaCpp) -> dict[str, Value]:
    """Returns a second value of every option that has one."""
    chosen: dict[str, Value] = {}
    for name, entry in engine.catalog.items():
        choices = [c for c in entry.type.choices if c not in {sample(entry), "mlock", "mmap+mlock", "numactl"}]
        chosen[name] = bool(entry.default) if entry.type.kind == "bool" else choices[-1] if choices else entry.default
    return {n: v for n, v in chosen.items() if v is not None}


@pytest.mark.parametrize("which", ["first", "second"])
async def test_catalog_options_are_accepted(
    engine: LlamaCpp, deployer: ProcessDeployer, model: Path, tmp_path: Path, which: str
) -> None:
    if which == "first":
        values = {n: sample(e) for n, e in engine.catalog.items()} | {"cache-prompt": True}
    else:
        values = other_samples(engine) | {"cache-type-v": "f16", "split-mode": "row", "cache-prompt": False}
    assert engine.check(values, Hardware()) == []
    async with running_server(engine, deployer, tmp_path, plan(engine, model, values)) as (endpoint, client):
        for name, value in values.items():
            assert engine.flag_value(endpoint.argv, name) in reads_as(value), name
        answer = await client.post("/v1/completions", json={"prompt": "hello", "max_tokens": 4})
        assert answer.json()["usage"]["completion_tokens"] == 4


async def test_effects_of_values(engine: LlamaCpp, deployer: ProcessDeployer, model: Path, tmp_path: Path) -> None:
    values: dict[str, Value] = {
        "threads": 1,
        "threads-batch": 2,
        "threads-http": 3,
        "parallel": 3,
        "ctx-size": 4608,
        "batch-size": 256,
        "ubatch-size": 64,
        "flash-attn": "on",
        "cache-type-k": "q8_0",
        "cache-type-v": "q4_0",
        "load-mode": "none",
    }
    async with running_server(engine, deployer, tmp_path, plan(engine, model, values, log_verbosity=5)) as (_, client):
        resolved = engine.resolved((await client.get("/props")).json(), "", "")
        assert resolved.pop("build")
        assert resolved == {"parallel": 3, "ctx-per-slot": 1536, "model-type": "Q8_0"}
        assert len((await client.get("/slots")).json()) == 3
        assert (await client.get("/v1/models")).json()["data"][0]["id"] == "tiny"
    assert_logged(
        tmp_path,
        r"n_threads = 1 \(n_threads_batch = 2\)",
        "using 3 threads for HTTP",
        r"n_seq_max += 3",
        r"n_ctx += 4608",
        r"n_batch += 256",
        r"n_ubatch += 64",
        r"flash_attn += enabled",
        r"kv_unified += false",
        r"K \(q8_0\)",
        r"V \(q4_0\)",
        "load_mode = none",
    )


async def test_effects_of_other_values(
    engine: LlamaCpp, deployer: ProcessDeployer, model: Path, tmp_path: Path
) -> None:
    values: dict[str, Value] = {"flash-attn": "off", "parallel": 2, "kv-unified": True, "cache-type-k": "f32"}
    launch = plan(engine, model, values, log_verbosity=5, metrics=False)
    async with running_server(engine, deployer, tmp_path, launch) as (_, client):
        assert (await client.get("/metrics")).status_code != 200
    assert_logged(tmp_path, r"flash_attn += disabled", r"kv_unified += true", r"n_seq_max += 2", r"K \(f32\)")


async def test_defaults_match_the_catalog(
    engine: LlamaCpp, deployer: ProcessDeployer, model: Path, tmp_path: Path
) -> None:
    async with running_server(engine, deployer, tmp_path, plan(engine, model, {}, log_verbosity=5, threads=None)) as (
        _,
        client,
    ):
        assert (await client.get("/props")).json()["total_slots"] == 4
        assert (await client.get("/metrics")).status_code == 200
    assert_logged(
        tmp_path,
        r"n_batch += 2048",
        r"n_ubatch += 512",
        r"flash_attn += auto",
        r"kv_unified += true",
        r"K \(f16\)",
        r"V \(f16\)",
        "load_mode = mmap",
    )


def assert_logged(folder: Path, *patterns: str) -> None:
    log = (folder / "server.log").read_text()
    assert [p for p in patterns if not re.search(p, log)] == []


@pytest.mark.parametrize("on", [True, False])
async def test_prompt_cache_on_and_off(
    engine: LlamaCpp, deployer: ProcessDeployer, model: Path, tmp_path: Path, on: bool
) -> None:
    launch = plan(engine, model, {"cache-prompt": on, "parallel": 1})
    async with running_server(engine, deployer, tmp_path, launch) as (_, client):
        body = {"prompt": "the same long beginning of a prompt " * 4, "max_tokens": 2}
        timings = [(await client.post("/v1/completions", json=body)).json()["timings"] for _ in range(2)]
        assert (timings[1]["cache_n"] > 10) is on


async def test_greedy_text_is_printable_and_complete(
    engine: LlamaCpp, deployer: ProcessDeployer, model: Path, tmp_path: Path
) -> None:
    async with running_server(engine, deployer, tmp_path, plan(engine, model, {})) as (_, client):
        for prompt in ("Hello there", "0123 {}", "ünï"):
            message = {"role": "user", "content": prompt}
            body = {"messages": [message], "max_tokens": 100, "temperature": 0}
            answer: Any = (await client.post("/v1/chat/completions", json=body)).json()
            assert answer["usage"]["completion_tokens"] == 100
            assert answer["choices"][0]["finish_reason"] == "length"
            assert answer["choices"][0]["message"]["content"].isprintable()


@pytest.mark.parametrize(
    ("args", "cause", "detail"),
    [
        ({"no-such-option": "1"}, FailureCause.INVALID_FLAG, "--no-such-option"),
        ({"threads": "many"}, FailureCause.INVALID_VALUE, "--threads"),
        ({"flash-attn": "maybe"}, FailureCause.INVALID_VALUE, "--flash-attn"),
        ({"flash-attn": "off", "cache-type-v": "q8_0"}, FailureCause.INVALID_VALUE, "flash attention"),
        ({"parallel": 600}, FailureCause.INVALID_VALUE, "256"),
        ({"batch-size": 0}, FailureCause.CRASH_LOADING, "SIG"),
    ],
)
async def test_causes_of_invalid_configurations(
    engine: LlamaCpp,
    deployer: ProcessDeployer,
    model: Path,
    tmp_path: Path,
    args: dict[str, Value],
    cause: FailureCause,
    detail: str,
) -> None:
    failure = await failed_start(engine, deployer, tmp_path, plan(engine, model, {}, **args))
    assert failure.cause is cause
    assert failure.blame is Blame.CONFIGURATION
    assert detail in failure.message
    assert failure.remedy
    assert failure.exit_code
    assert failure.log_tail


@pytest.fixture
def truncated(model: Path, tmp_path: Path) -> Path:
    path = tmp_path / "truncated.gguf"
    path.write_bytes(model.read_bytes()[:20_000_000])
    return path


async def test_truncated_model(engine: LlamaCpp, deployer: ProcessDeployer, truncated: Path, tmp_path: Path) -> None:
    failure = await failed_start(engine, deployer, tmp_path, plan(engine, truncated, {}))
    assert failure.cause is FailureCause.MODEL_MISSING
    assert failure.blame is Blame.ENVIRONMENT


async def test_missing_model(engine: LlamaCpp, deployer: ProcessDeployer, tmp_path: Path) -> None:
    failure = await failed_start(engine, deployer, tmp_path, plan(engine, tmp_path / "none.gguf", {}))
    assert failure.cause is FailureCause.MODEL_MISSING
    assert "none.gguf" in failure.message


async def test_port_in_use(
    engine: LlamaCpp, deployer: ProcessDeployer, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other listener would even share the port (``SO_REUSEPORT``)."""
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        port = foreign.getsockname()[1]

        async def lease(*_: object) -> int:
            return port

        monkeypatch.setattr(Ports, "lease", lease)
        monkeypatch.setattr(process, "TRIES", 1)
        failure = await failed_start(engine, deployer, tmp_path, plan(engine, model, {}))
    assert failure.cause is FailureCause.PORT_UNAVAILABLE
    assert failure.blame is Blame.ENVIRONMENT


async def test_start_timeout(deployer: ProcessDeployer, model: Path, tmp_path: Path) -> None:
    engine = LlamaCpp(LlamaCppSettings(start_timeout=1.0))
    failure = await failed_start(engine, deployer, tmp_path, plan(engine, model, {"ctx-size": 400_000_000}))
    assert failure.cause is FailureCause.START_TIMEOUT
    assert "loading model" in failure.log_tail


async def test_crash_under_load(engine: LlamaCpp, deployer: ProcessDeployer, model: Path, tmp_path: Path) -> None:
    async with running_server(engine, deployer, tmp_path, plan(engine, model, {})) as (endpoint, client):
        body = {"prompt": "x", "max_tokens": 5000, "stream": True}
        async with client.stream("POST", "/v1/completions", json=body) as response:
            await anext(response.aiter_lines())
            os.kill(int((await endpoint.identity()).id), signal.SIGSEGV)
            with anyio.fail_after(20):
                failure = await endpoint.died()
    assert failure.cause is FailureCause.CRASH_UNDER_LOAD
    assert failure.exit_code == -signal.SIGSEGV


async def test_busy_server_stops_on_sigterm(engine: LlamaCpp, model: Path, tmp_path: Path) -> None:
    """Running requests do not delay the end until the grace period of a minute is over."""
    patient = ProcessDeployer(ProcessSettings(ports=free_range(20), stop_grace=60))
    with anyio.fail_after(30):
        async with running_server(engine, patient, tmp_path, plan(engine, model, {"ctx-size": 100_000})) as (_, client):
            body = {"prompt": "x", "max_tokens": 90_000, "stream": True}
            async with client.stream("POST", "/v1/completions", json=body) as response:
                await anext(response.aiter_lines())
                os.kill(next(iter(server_pids())), signal.SIGTERM)


@pytest.mark.parametrize("how", ["exec", ""])
async def test_custom_server_program(deployer: ProcessDeployer, model: Path, tmp_path: Path, how: str) -> None:
    """The ``llama-server`` is a script; without ``exec``, the server is its child."""
    program = tmp_path / "llama server"
    program.write_text(f'#!/bin/sh\n{how} {sys.executable} -m autotuner.engines.llama_cpp.server "$@"\nexit $?\n')
    program.chmod(0o755)
    engine = LlamaCpp(LlamaCppSettings(server=str(program)))
    launch = plan(engine, model, {"parallel": 3, "cont-batching": False})
    assert launch.command == (str(program),)
    async with running_server(engine, deployer, tmp_path / "trial", launch) as (endpoint, client):
        assert (await client.get("/props")).json()["total_slots"] == 3
        assert engine.flag_value(endpoint.argv, "parallel") == "3"
        assert engine.flag_value(endpoint.argv, "cont-batching") is False
        assert engine.flag_value(endpoint.argv, "model") == str(model)
        assert len(endpoint.pids()) == (1 if how else 2)
        assert await endpoint.identity() == await endpoint.identity()


class RealCase(DeployerCase):
    """The conformance kit's case with the real server, whose failures are real as well."""

    def __init__(self, model: Path, deployer: ProcessDeployer) -> None:
        self.deployer = deployer
        self._model = model

    def _plan(self, timeout_s: float, command: tuple[str, ...] = (), **args: Value) -> LaunchPlan:
        made = plan(LlamaCpp(LlamaCppSettings(start_timeout=timeout_s)), self._model, {"parallel": 2}, **args)
        return made.model_copy(update={"command": (*command, *made.command)})

    def good(self) -> LaunchPlan:
        return self._plan(60)

    def dies_loading(self) -> LaunchPlan:
        script = "import sys; print('broken'); sys.exit(3)"
        return self._plan(60).model_copy(update={"command": (sys.executable, "-c", script)})

    def never_ready(self) -> LaunchPlan:
        return self._plan(0.7, ctx_size=400_000_000)

    def dies_later(self) -> LaunchPlan:
        script = (
            "import os, runpy, signal, sys; sys.argv = ['server', *sys.argv[1:]];"
            "signal.signal(signal.SIGUSR1, lambda *_: os._exit(3));"
            "runpy.run_module('autotuner.engines.llama_cpp.server', run_name='__main__')"
        )
        return self._plan(60).model_copy(update={"command": (sys.executable, "-c", script)})

    async def provoke(self, endpoint: Endpoint) -> None:
        os.kill(int((await endpoint.identity()).id), signal.SIGUSR1)

    async def kill(self, endpoint: Endpoint) -> None:
        os.kill(int((await endpoint.identity()).id), signal.SIGKILL)

    async def answers(self, url: str) -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                return (await client.get(f"{url}/health")).status_code == 200
        except httpx.TransportError:
            return False

    def left(self) -> list[str]:
        labels = {"AUTOTUNER_STUDY": KIT.study}
        return [json.dumps(procfs.cmdline(p.pid)) for p in procfs.processes() if procfs.carries(p.pid, labels)]


class TestRealServer(DeployerConformance):
    @pytest.fixture
    def case(self, model: Path, deployer: ProcessDeployer) -> RealCase:
        return RealCase(model, deployer)

    @pytest.fixture
    def recorder(self, tmp_path: Path) -> Recorder:
        return Recorder(tmp_path / "trial")


@pytest.mark.parametrize(
    ("arguments", "api", "scenario", "tokens"),
    [
        ({"embeddings": True, "pooling": "mean"}, Api.EMBEDDINGS, "E(48) documents=2", 96),
        ({"reranking": True}, Api.RERANK, "R(40,8) documents=3", 144),
    ],
)
async def test_embeddings_and_rankings(
    engine: LlamaCpp,
    deployer: ProcessDeployer,
    model: Path,
    tmp_path: Path,
    arguments: dict[str, Value],
    api: Api,
    scenario: str,
    tokens: int,
) -> None:
    async with running_server(engine, deployer, tmp_path, plan(engine, model, {}, **arguments)) as (endpoint, _):
        window = make_window(
            tmp_path,
            Concurrency(in_flight=2),
            scenario=parse_scenario(scenario),
            api=api,
            warmup_s=0.1,
            duration_s=60.0,
            min_requests=0,
            requests=8,
        )
        seen = await NativeBenchmark(NativeSettings()).measure(endpoint, window)
    assert (seen.failed, set(seen.distributions)) == (0, {"e2e_latency"})
    records = read_records(tmp_path / "records.parquet").columns
    asked = pytest.approx(tokens, abs=3)  # a word of the model's small vocabulary has several tokens
    assert [n for n in records["input_tokens"] if n is None or n != asked] == []
