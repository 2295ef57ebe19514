"""End-to-end studies with SGLang's command line in containers.

The image simulates SGLang; the Docker engine, containers, ports and GPU requests are real.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import yaml
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

import autotuner
from autotuner.engines.sglang.engine import Sglang, SglangSettings
from autotuner.study.failure import FailureCause
from autotuner.study.launch import without_flags
from autotuner.study.trial import TrialRole, TrialState
from autotuner.testing.relaxed_settings import CALM_BENCHMARK, CALM_LIMITS, calm_workload
from support.labs.docker_engine import OwnEngine
from support.labs.simulated_image import changes, write_image

pytestmark = pytest.mark.docker

MODEL = "llama-3-2-1b-instruct"
TASK = {
    "task_name": "docker-simple-tune",
    "description": "Two configurations of SGLang in Docker",
    "deployment_mode": "docker",
    "model": {"id_or_path": MODEL, "namespace": "autotuner"},
    "base_runtime": "sglang",
    "parameters": {"tp-size": [1], "mem-fraction-static": [0.7, 0.8]},
    "optimization": {
        "strategy": "grid_search", "objective": "minimize_latency", "max_iterations": 2, "timeout_per_iteration": 600,
    },
    "benchmark": {
        "task": "text-to-text", "model_name": MODEL, "model_tokenizer": "meta-llama/Llama-3.2-1B-Instruct",
        "traffic_scenarios": ["D(100,100)"], "num_concurrency": [1, 4], "max_time_per_iteration": 10,
        "max_requests_per_iteration": 20, "additional_params": {"temperature": 0.0},
    },
}  # fmt: skip

Cli = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def simulated_sglang(engine: OwnEngine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of SGLang's default image, under which the simulated image is loaded."""
    image = Sglang(SglangSettings()).image
    path = tmp_path_factory.mktemp("image") / "root.tar"
    write_image(path)
    name, _, tag = image.rpartition(":")
    image_changes = changes({"GPU": "H100", "SHAPE": "Llama-3.2-1B", "SPEED": "10"})
    params: dict[str, Any] = {"fromSrc": "-", "repo": name, "tag": tag, "changes": image_changes}
    with path.open("rb") as root:
        engine.api("POST", "/images/create", params=params, content=root).raise_for_status()
    return image


@pytest.fixture
def cli(engine: OwnEngine, simulated_sglang: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """Starts ``autotuner`` with site settings for the test engine; checks that no container is left."""
    models = tmp_path / "models"
    (models / MODEL).mkdir(parents=True)
    (models / MODEL / "config.json").write_text("{}")
    site = {
        "docker_host": engine.url,
        "network": engine.settings()["network"],
        "ulimits": {},
        "pull": "never",
        "model_roots": [str(models)],
        "gpu_ids": ["0", "1", "2", "3"],
        "stop_grace": "2s",
    }
    benchmark = {"native": {"limits": dict(CALM_LIMITS)}}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump({"deploy": {"docker": site}, "benchmark": benchmark}))
    monkeypatch.setenv("AUTOTUNER_SITE", str(tmp_path / "site.yaml"))
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "autotuner", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(argv, text=True, env=dict(os.environ), **pipes))  # type: ignore[call-overload]
        return started[-1]

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    assert engine.containers() == []


def wait(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=280)
    return process.returncode, out, err


def flag_value(argv: tuple[str, ...], flag: str) -> str | None:
    return argv[argv.index(flag) + 1] if flag in argv else None


def test_legacy_docker_task(cli: Cli, engine: OwnEngine, tmp_path: Path) -> None:
    file = tmp_path / "docker_task.json"
    file.write_text(json.dumps(TASK))
    code, out, err = wait(cli("plan", str(file), "--mode", "docker", "--json"))
    assert code == 0, err
    assert json.loads(out)["trials"] == 3
    assert "model_roots" in err, "values from the site settings are reported"
    # A task has no keys for the warm-up and the proof.
    spec = autotuner.read_study(file, mode="docker").spec
    workload = spec.workload.replaced(warmup_s=0.1)
    result = autotuner.tune(spec.replaced(workload=workload, confirm=spec.confirm.replaced(repeats=1)))
    assert result.winner is not None
    assert result.state == "done"
    assert result.simulated
    trials = result.trials
    assert all(t.state is TrialState.DONE for t in trials), [t.failure for t in trials]
    searched = [t for t in trials if t.role is TrialRole.SEARCH]
    assert [flag_value(t.argv, "--mem-fraction-static") for t in searched] == ["0.7", "0.8"]
    assert {flag_value(t.argv, "--tp-size") for t in searched} == {"1"}
    for trial in trials:
        assert trial.argv[:3] == ("python3", "-m", "sglang.launch_server"), "read from the running container"
        assert flag_value(trial.argv, "--model-path") == str(tmp_path / "models" / MODEL)
        assert flag_value(trial.argv, "--served-model-name") == MODEL
        assert trial.identity is not None
        assert (trial.identity.kind, trial.gpus) == ("container", 1)
        assert [m.level.text for m in trial.measurements] == ["concurrency=1", "concurrency=4"]
        assert all(m.requests >= 20 and m.failed == 0 for m in trial.measurements)
        assert trial.resolved["simulated"] is True
    fractions = {t.resolved["mem-fraction-static"] for t in searched}
    assert fractions == {0.7, 0.8}, "read from the server"
    assert engine.containers() == []
    code, out, err = wait(cli("best", "docker-simple-tune"))
    command = shlex.split(out)
    assert (code, command[:2]) == (0, ["docker", "run"])
    assert "imulated" in err
    assert "sglang.launch_server" in command
    code, out, err = wait(cli("best", "docker-simple-tune", "--as", "compose", "--json"))
    assert code == 0, err
    (service,) = json.loads(out)["manifests"][0]["services"].values()
    won = next(t for t in trials if t.number == json.loads(out)["winner"])
    measured = without_flags(won.argv, ("--host", "--port"))
    assert (*service["entrypoint"], *service["command"][:-4]) == measured
    assert service["image"] == command[command.index("--entrypoint") + 2]
    assert [v["target"] for v in service["volumes"]] == [str(tmp_path / "models" / MODEL)]


@pytest.mark.genai
def test_study_with_real_genai_bench(cli: Cli, tmp_path: Path) -> None:
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "models" / MODEL / "tokenizer.json"))
    settings = '{"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"}'
    (tmp_path / "models" / MODEL / "tokenizer_config.json").write_text(settings)
    file = tmp_path / "genai.json"
    file.write_text(
        json.dumps(
            {
                "name": "genai",
                "model": MODEL,
                "engine": "sglang",
                "deploy": "docker",
                "benchmark": {"kind": "genai_bench", "command": os.environ["AUTOTUNER_GENAI_BENCH"]},
                "parameters": {"mem-fraction-static": [0.7]},
                "workload": {"scenarios": "D(64,32)", "concurrency": [1, 2], "warmup": "1s", "duration": "4s"},
                "objective": "max output_throughput",
                "search": {"strategy": "grid", "trials": 2},
                "confirm": {"repeats": 0},
            }
        )
    )
    code, out, err = wait(cli("run", str(file), "--json"))
    assert code == 0, err
    trials = autotuner.load_result("genai").trials
    assert [t.state for t in trials] == [TrialState.DONE] * 2, [t.failure for t in trials]
    for trial in trials:
        for measured in trial.measurements:
            assert measured.requests > 3
            assert measured.failed == 0
            assert measured.value("ttft", "p50")
            assert measured.value("output_throughput", None)
    assert json.loads(out)["winner"] is not None


def test_simulated_engine_in_a_container(cli: Cli, engine: OwnEngine, tmp_path: Path, simulated_sglang: str) -> None:
    """The plan must show the command line inside the image, where this machine's Python does not exist."""
    file = tmp_path / "simulated.json"
    changes = {
        "name": "in-docker",
        "engine": {"kind": "simulated", "gpu": "H100"},
        "parameters": {},
        "confirm": {"repeats": 0},
    }
    deploy = {"kind": "docker", "image": simulated_sglang}
    file.write_text(
        json.dumps({**study("in-docker"), **changes, "deploy": deploy, "objective": "max output_throughput"})
    )
    code, out, err = wait(cli("plan", str(file)))
    assert code == 0, out + err
    assert f"{simulated_sglang} -m autotuner.simulator" in out
    assert "docker run" in out
    code, out, err = wait(cli("run", str(file), "--json"))
    (trial,) = autotuner.load_result("in-docker").trials
    assert trial.state is TrialState.DONE, trial.failure
    assert trial.identity is not None
    assert trial.identity.kind == "container"
    assert trial.simulated


class Watcher:
    """Polls the running containers and records their GPUs and ports."""

    def __init__(self, engine: OwnEngine) -> None:
        self._engine = engine
        self._stop = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self.samples: list[list[tuple[str, str, tuple[str, ...], int]]] = []
        """Per poll: (study, trial, GPUs, port) of each running container."""

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            with suppress(Exception):
                running = [c for c in self._engine.containers() if c["State"] == "running"]
                self.samples.append([self._resources(c["Id"]) for c in running])

    def _resources(self, name: str) -> tuple[str, str, tuple[str, ...], int]:
        inspected = self._engine.inspect(name)
        labels = inspected["Config"]["Labels"]
        gpus = tuple(i for request in inspected["HostConfig"]["DeviceRequests"] or () for i in request["DeviceIDs"])
        [binding] = inspected["NetworkSettings"]["Ports"]["8000/tcp"]
        assert binding["HostIp"] == "127.0.0.1"
        return labels["autotuner.study"], labels["autotuner.trial"], gpus, int(binding["HostPort"])

    @contextmanager
    def watching(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()


def study(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "model": MODEL,
        "engine": "sglang",
        "deploy": "docker",
        "parameters": {"tp-size": [1, 2], "mem-fraction-static": [0.8, 0.999]},
        "benchmark": CALM_BENCHMARK,
        "workload": calm_workload("D(64,32)", concurrency=[4], requests=16),
        "objective": "max output_throughput_per_gpu",
        "search": {"strategy": "grid", "trials": 5, "parallel": 2, "racing": "off"},
        "confirm": {"repeats": 0},
    }


def test_gpus_and_ports_of_concurrent_studies_are_disjoint(cli: Cli, engine: OwnEngine, tmp_path: Path) -> None:
    watcher = Watcher(engine)
    with watcher.watching():
        runs = []
        for name in ("one", "two"):
            (tmp_path / f"{name}.json").write_text(json.dumps(study(name)))
            runs.append(cli("run", str(tmp_path / f"{name}.json"), "--json"))
        endings = [wait(run) for run in runs]
    assert [code for code, _, _ in endings] == [0, 0], endings
    together = max(len(sample) for sample in watcher.samples)
    assert together >= 3, f"at most {together} containers overlapped, so that the test proves nothing"
    for sample in watcher.samples:
        gpus = [gpu for _, _, given, _ in sample for gpu in given]
        ports = [port for *_, port in sample]
        assert len(gpus) == len(set(gpus)) <= 4, sample
        assert len(ports) == len(set(ports)), sample
    assert {study for sample in watcher.samples for study, *_ in sample} == {"one", "two"}
    for name in ("one", "two"):
        trials = autotuner.load_result(name).trials
        by_values = {tuple(t.configuration.values.values()): t for t in trials if t.role is TrialRole.SEARCH}
        assert set(by_values) == {(1, 0.8), (1, 0.999), (2, 0.8), (2, 0.999)}
        for (tp, fraction), trial in by_values.items():
            assert trial.gpus == tp
            if fraction == 0.8:
                assert trial.state is TrialState.DONE, trial.failure
                assert (flag_value(trial.argv, "--tp-size"), flag_value(trial.argv, "--mem-fraction-static")) == (
                    str(tp),
                    "0.8",
                )
                per_gpu = trial.measurements[0].scalars["output_throughput_per_gpu"]
                assert per_gpu == pytest.approx(trial.measurements[0].scalars["output_throughput"] / tp)
            else:
                assert trial.failure is not None
                assert trial.failure.cause is FailureCause.GPU_OUT_OF_MEMORY_RUNNING
                assert "lower mem-fraction-static" in trial.failure.remedy
                assert "out of memory" in trial.failure.log_tail
    deadline = time.monotonic() + 20
    while engine.containers() and time.monotonic() < deadline:
        time.sleep(0.1)
