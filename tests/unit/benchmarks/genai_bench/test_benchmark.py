"""genai_bench: the real one (``make test-genai``), and a scripted one for what the real one does not do on demand."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import anyio
import psutil
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from autotuner.benchmarks.genai_bench.benchmark import COMMAND_VARIABLE, GenaiBench, GenaiBenchSettings
from autotuner.benchmarks.genai_bench.log import Answer, LogReader
from autotuner.benchmarks.genai_bench.worker import GenaiSpec
from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.measuring.summary import summarize
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.deployers.local.local_runner import LocalRunner
from autotuner.errors import UsageError
from autotuner.plugins.benchmark import Benchmark, Progress
from autotuner.study.check import CheckStatus
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.measurement import Measurement
from autotuner.study.objective import SLO, Objective
from autotuner.study.spec import EngineSpec, Model, PluginSpec, StudySpec
from autotuner.study.workload import Api, Concurrency, LoadLevel, RequestRate, Scenario, TokenLengths
from autotuner.testing.benchmark_kit import BenchmarkConformance, ChildRunner, UrlEndpoint, fixed_scenario, make_window
from autotuner.testing.mock_openai import Behavior, Fault, MockOpenAI, mock_openai

pytestmark = pytest.mark.anyio
DOUBLE = Path(__file__).with_name("genai_double.py")
KNOWN_VENV = Path(__file__).parents[4] / ".cache" / "genai-bench" / "bin" / "genai-bench"
REAL = os.environ.get(COMMAND_VARIABLE) or (str(KNOWN_VENV) if KNOWN_VENV.exists() else "")
ONE = Concurrency(in_flight=1)
TWO = Concurrency(in_flight=2)
KEY = "sk-very-secret-1234"
real = [pytest.mark.genai, pytest.mark.skipif(not REAL, reason="no genai-bench: make test-genai installs one")]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tokenizer in which every word is one token."""
    words = Tokenizer(WordLevel({"?": 0, "x": 1, **{str(n): n for n in range(2, 99)}}, unk_token="?"))
    words.pre_tokenizer = Whitespace()
    folder = tmp_path_factory.mktemp("tokenizer")
    words.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the worker puts its folder; whatever happens, nothing is left in it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.delenv(COMMAND_VARIABLE, raising=False)
    yield folder
    assert list(folder.iterdir()) == []


def scripted(tokenizer: Path | None, *behavior: str, **settings: object) -> GenaiBench:
    command = (sys.executable, str(DOUBLE), *behavior)
    path = str(tokenizer) if tokenizer else None
    return GenaiBench(GenaiBenchSettings(command=command, tokenizer=path, **settings))  # type: ignore[arg-type]


async def measured(
    benchmark: Benchmark, folder: Path, behavior: Behavior | None = None, level: LoadLevel = TWO, **more: object
) -> tuple[Measurement, MockOpenAI]:
    async with mock_openai(behavior) as server:
        window = make_window(folder, level, **{"duration_s": 0.3, **more})  # type: ignore[arg-type]
        return await benchmark.measure(UrlEndpoint(server.url), window), server


def alive(pid: int) -> bool:
    """Not even a zombie counts."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def files_of(folder: Path) -> dict[Path, bytes]:
    return {f: f.read_bytes() for f in folder.rglob("*") if f.is_file() and not f.is_symlink()}


def emptied(folder: Path) -> None:
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


class TestScripted(BenchmarkConformance):
    """The kit, with the double."""

    open_loop = False

    @pytest.fixture
    def benchmark(self, tokenizer: Path) -> Benchmark:
        return scripted(tokenizer)


class TestReal(BenchmarkConformance):
    """The kit, with genai-bench itself."""

    pytestmark = [pytest.mark.anyio, *real]  # noqa: RUF012 - as pytest wants it
    open_loop = False

    @pytest.fixture
    def benchmark(self, tokenizer: Path) -> Benchmark:
        return GenaiBench(GenaiBenchSettings(command=REAL, tokenizer=str(tokenizer)))

    async def test_it_agrees_with_the_native_client(self, benchmark: Benchmark, tmp_path: Path) -> None:
        """Requests, tokens and times of one user, against the server's own log and our own client."""
        behavior = Behavior(ttft_s=0.1, itl_s=0.005)
        found = []
        for each in (benchmark, NativeBenchmark(NativeSettings())):
            seen, server = await measured(
                each, tmp_path, behavior, ONE, scenario=fixed_scenario(16, 20), requests=12, duration_s=30.0
            )
            truth = [t for t in server.log if len(t.sent_ns) == 20]
            assert seen.requests == 12
            assert seen.failed == 0
            assert set(read_records(tmp_path / "records.parquet").columns["output_tokens"][1:]) >= {20}
            assert seen.value("ttft", "p50") == pytest.approx(median(t.ttft_s for t in truth), rel=0.1)
            found.append(seen)
        genai, native = found
        assert genai.value("ttft", "p50") == pytest.approx(native.value("ttft", "p50"), rel=0.1)
        assert genai.value("e2e_latency", "p50") == pytest.approx(native.value("e2e_latency", "p50"), rel=0.1)
        assert genai.value("tpot", "p50") == pytest.approx(native.value("tpot", "p50"), rel=0.2)
        assert genai.scalars["output_throughput"] == pytest.approx(native.scalars["output_throughput"], rel=0.2)
        assert native.value("itl", "p50") is not None
        assert genai.value("itl", "p50") is None

    async def test_its_log_and_its_result_file_say_the_same(self, tokenizer: Path, temporary: Path) -> None:
        """Run to its own end, it writes for each request what its log had said of it, to the last digit."""
        (tokenizer / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
        async with mock_openai() as server:
            options = {
                "api-backend": "vllm",
                "api-base": server.url,
                "api-key": "none",
                "api-model-name": "m",
                "model": "m",
                "model-tokenizer": tokenizer,
                "task": "text-to-text",
                "traffic-scenario": "D(16,8)",
                "num-concurrency": 2,
                "max-time-per-run": 1,
                "max-requests-per-run": 5,
                "experiment-base-dir": temporary,
                "experiment-folder-name": "out",
                "log-dir": temporary / "out",
            }
            argv = [REAL, "benchmark", *(str(part) for n, v in options.items() for part in (f"--{n}", v))]
            env = {**os.environ, "ENABLE_UI": "false", "GENAI_BENCH_LOGGING_LEVEL": "DEBUG"}
            done = await anyio.run_process(argv, check=False, env=env, cwd=temporary)
        (file,) = (temporary / "out").glob("*_num_concurrency_2_*.json")
        written = json.loads(file.read_bytes())["individual_request_metrics"]
        answers = [e for e in LogReader().feed(done.stdout, 0) if isinstance(e, Answer)]
        assert len(written) == len(answers) > 4
        for request, answer in zip(written, answers, strict=True):
            assert round(request["ttft"] * 1e9) == pytest.approx(answer.first_ns - answer.sent_ns, abs=2)
            assert round(request["e2e_latency"] * 1e9) == pytest.approx(answer.end_ns - answer.sent_ns, abs=2)
            assert request["num_output_tokens"] == answer.output_tokens == 8
            assert request["num_input_tokens"] == answer.prompt_tokens
        emptied(temporary)

    @pytest.mark.parametrize(
        "fault", [Fault.CUT, Fault.TRUNCATED, Fault.EMPTY, Fault.ERROR_EVENT, Fault.BAD_JSON, Fault.HANG]
    )
    async def test_no_failing_request_vanishes(self, benchmark: Benchmark, tmp_path: Path, fault: Fault) -> None:
        """Each kind, as our definitions call it."""
        behavior = Behavior(fault=fault, fault_when=lambda n: n % 4 == 3)
        seen, _ = await measured(benchmark, tmp_path, behavior, duration_s=1.0, request_timeout_s=2.0)
        assert 0 < seen.failed < seen.requests
        assert set(seen.errors) == {
            {Fault.CUT: "cut_stream", Fault.TRUNCATED: "cut_stream", Fault.EMPTY: "empty", Fault.HANG: "timeout"}.get(
                fault, "stream_error"
            )
        }

    @pytest.mark.parametrize("text", ["N(16,4)/(8,2)", "U(8,16)/(4,8)", "D(16,1)"])
    async def test_every_form_of_scenario(self, benchmark: Benchmark, tmp_path: Path, text: str) -> None:
        """Drawn lengths, and answers of one token, which its own result file drops."""
        kind = {"N": "normal", "U": "uniform", "D": "fixed"}[text[0]]
        lengths = TokenLengths.model_validate({"kind": kind, "a": 16, "b": 4})
        scenario = Scenario(text=text, input=lengths, output=lengths.model_copy(update={"a": 1}))
        seen, server = await measured(benchmark, tmp_path, scenario=scenario)
        assert seen.requests > 0
        assert seen.failed == 0
        assert all(t.body["max_tokens"] <= 16 for t in server.log)
        assert all(t.body["ignore_eos"] is True for t in server.log)

    async def test_the_key_is_on_no_disk(
        self, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither while it runs nor afterward, though it writes its options into two files."""
        await key_stays_secret(
            GenaiBench(GenaiBenchSettings(command=REAL, tokenizer=str(tokenizer), api_key_env="MY_KEY")),
            tmp_path,
            monkeypatch,
        )


# the measurement


async def test_the_records_sum_up_to_the_same_measurement(tokenizer: Path, tmp_path: Path) -> None:
    seen, server = await measured(scripted(tokenizer), tmp_path, scenario=fixed_scenario(16, 20))
    records = read_records(tmp_path / "records.parquet")
    assert summarize(records, name="records.parquet") == seen
    assert seen.value("ttft", "p50") == pytest.approx(median(t.ttft_s for t in server.log if t.sent_ns), rel=0.5)
    assert seen.distributions.keys() == {"ttft", "tpot", "e2e_latency"}
    assert seen.scalars["output_throughput"] == pytest.approx(20 * seen.scalars["request_throughput"], rel=0.4)
    assert any("itl is not measured" in w for w in seen.warnings)
    assert not any("own work" in w for w in seen.warnings)


async def test_the_request_count_ends_the_window(tokenizer: Path, tmp_path: Path) -> None:
    seen, _ = await measured(scripted(tokenizer), tmp_path, requests=5, duration_s=30.0)
    assert seen.requests == 5
    assert seen.window_s < 10


async def test_answers_without_usage_are_counted_here(tokenizer: Path, tmp_path: Path) -> None:
    seen, _ = await measured(scripted(tokenizer, "usage=0"), tmp_path)
    assert seen.token_source == "tokenizer"
    assert set(read_records(tmp_path / "records.parquet").columns["output_tokens"]) == {8}


async def test_its_own_work_is_warned_of(tokenizer: Path, tmp_path: Path) -> None:
    seen, _ = await measured(scripted(tokenizer), tmp_path, level=Concurrency(in_flight=5))
    assert any("genai-bench's own work is in its ttft" in w for w in seen.warnings)


async def test_what_hangs_is_counted_and_told(tokenizer: Path, tmp_path: Path) -> None:
    behavior = Behavior(fault=Fault.HANG, fault_when=lambda n: n == 5)
    seen, _ = await measured(scripted(tokenizer), tmp_path, behavior, request_timeout_s=1.0)
    assert seen.errors == {"timeout": 1}
    assert any("1 requests never ended" in w for w in seen.warnings)


@pytest.mark.parametrize(("ignore_eos", "sent"), [(True, True), (False, None)])
async def test_the_backend_follows_from_the_study(
    tokenizer: Path, tmp_path: Path, ignore_eos: bool, sent: bool | None
) -> None:
    body = {"temperature": 0.7}
    _, server = await measured(scripted(tokenizer), tmp_path, ignore_eos=ignore_eos, extra_body=body)
    assert server.log[0].body.get("ignore_eos") is sent
    assert server.log[0].body["temperature"] == 0.7


# what it cannot do


@pytest.mark.parametrize(
    ("said", "workload", "settings"),
    [
        ("arrival rates", {"levels": [RequestRate(rate=2.0)]}, {}),
        ("without bounding", {"scenarios": [Scenario(text="dataset:x", dataset="x")]}, {}),
        ("system prompt", {"prefix_tokens": 5}, {}),
        ("without a seed", {"seed": 5}, {}),
        ("chat API only", {"api": Api.COMPLETIONS}, {}),
        ("drops ignore_eos", {}, {"backend": "openai"}),
        ("always sends ignore_eos", {"ignore_eos": False}, {"backend": "sglang"}),
        ("sets this field itself", {"extra_body": {"stream": False}}, {}),
        ("changes what is measured", {}, {"extra_args": ("--num-workers=4",)}),
        ("no such file or folder", {}, {"tokenizer": "/nowhere"}),
        ("MY_KEY is not set", {}, {"api_key_env": "MY_KEY"}),
    ],
)  # fmt: skip
async def test_it_is_refused_in_one_line_before_the_first_trial(
    tokenizer: Path, tmp_path: Path, said: str, workload: dict[str, object], settings: dict[str, object]
) -> None:
    given = make_window(tmp_path, ONE).workload
    asked = given.model_validate({**given.model_dump(), **workload})
    command = (sys.executable, str(DOUBLE))
    benchmark = GenaiBench(
        GenaiBenchSettings.model_validate({"command": command, "tokenizer": str(tokenizer), **settings})
    )
    (failed,) = [c for c in await benchmark.preflight(asked) if c.status is CheckStatus.FAIL]
    assert said in failed.detail
    assert failed.remedy
    assert "\n" not in failed.detail
    window = replace(make_window(tmp_path, asked.levels[0], scenario=asked.scenarios[0]), workload=asked)
    with pytest.raises(UsageError, match=said):
        await benchmark.measure(UrlEndpoint("http://127.0.0.1:1"), window)


async def test_headers_other_than_a_bearer_token_are_refused_without_their_values(
    tokenizer: Path, tmp_path: Path
) -> None:
    window = make_window(tmp_path, ONE, headers={"X-Key": KEY})
    with pytest.raises(UsageError, match="X-Key") as raised:
        await scripted(tokenizer).measure(UrlEndpoint("http://127.0.0.1:1"), window)
    assert KEY not in str(raised.value)


def study(tmp_path: Path, **more: object) -> StudySpec:
    fields = {
        "name": "s",
        "model": Model(path=str(tmp_path)),
        "engine": EngineSpec(kind="fake"),
        "deploy": PluginSpec(kind="fake"),
        "workload": make_window(tmp_path, ONE).workload,
        "objectives": [Objective.model_validate({"metric": "output_throughput", "direction": "max"})],
        **more,
    }
    return StudySpec.model_validate(fields)


async def test_the_models_own_tokenizer_is_the_last_resort(tokenizer: Path, tmp_path: Path) -> None:
    spec = study(tmp_path)
    workload = spec.workload
    without = scripted(None).for_study(spec, Model(path="org/name"))
    (failed,) = [c for c in await without.preflight(workload) if c.status is CheckStatus.FAIL]
    assert "the study names none" in failed.detail
    assert "tokenizer.json" in failed.remedy
    found = scripted(None).for_study(spec, Model(path=str(tokenizer)))
    assert [c.status for c in await found.preflight(workload)] == [CheckStatus.OK]
    named = workload.model_copy(update={"tokenizer": "/nowhere"})
    assert "/nowhere" in (await found.preflight(named))[1].detail


@pytest.mark.parametrize(
    "asked",
    [
        {"slos": [SLO(metric="itl", threshold=0.1)]},
        {"objectives": [Objective.model_validate({"metric": "itl_token", "statistic": "p99", "direction": "min"})]},
    ],
)
def test_an_objective_that_it_cannot_measure_is_refused(
    tokenizer: Path, tmp_path: Path, asked: dict[str, object]
) -> None:
    with pytest.raises(UsageError, match="itl"):
        scripted(tokenizer).for_study(study(tmp_path, **asked), Model(path="m"))


# the installation


async def test_a_missing_command_is_told_with_its_remedy(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(COMMAND_VARIABLE, "/nowhere/genai-bench")
    benchmark = GenaiBench(GenaiBenchSettings(tokenizer=str(tokenizer)))
    (check,) = await benchmark.preflight(make_window(tmp_path, ONE).workload)
    assert check.status is CheckStatus.FAIL
    assert "/nowhere/genai-bench" in check.detail
    assert "pip install genai-bench==0.0.5" in check.remedy
    with pytest.raises(TrialFailedError, match="could not be started") as raised:
        await measured(benchmark, tmp_path)
    assert raised.value.failure.cause is FailureCause.BENCHMARK_FAILED


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ("genai-bench version 0.0.5", CheckStatus.OK),
        ("genai-bench version 9.1", CheckStatus.WARN),
        ("ImportError: no click", CheckStatus.FAIL),
    ],
)
async def test_the_version_is_asked_for(tokenizer: Path, tmp_path: Path, version: str, status: CheckStatus) -> None:
    (check,) = await scripted(tokenizer, f"version={version}").preflight(make_window(tmp_path, ONE).workload)
    assert check.status is status
    assert version.rpartition(" ")[2] in check.detail


# failures, and what is left behind


@pytest.mark.parametrize(
    ("behavior", "said"),
    [
        (("crash=3",), "exit code 3 before its first request: Error: cannot start with"),
        (("after=5", "code=7"), "exit code 7 after [0-9]+ requests, too early"),
        (("after=5",), "exit code 0 after [0-9]+ requests, too early"),
        (("mute=1",), "sent no request within 1 s"),
    ],
)
async def test_a_client_that_ends_too_early_is_a_failed_benchmark(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behavior: tuple[str, ...], said: str
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    benchmark = scripted(tokenizer, *behavior, start_timeout=1.0, api_key_env="MY_KEY")
    with pytest.raises(TrialFailedError, match=said) as raised:
        await measured(benchmark, tmp_path, duration_s=5.0)
    failure = raised.value.failure
    assert failure.cause is FailureCause.BENCHMARK_FAILED
    assert "genai_bench." in failure.log_tail
    assert KEY not in failure.model_dump_json()


async def key_stays_secret(benchmark: Benchmark, folder: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Measures with a key; returns what the worker said, in which it is not."""
    monkeypatch.setenv("MY_KEY", KEY)
    runner = ChildRunner()
    looked = []

    def look(_: Progress) -> None:
        files = files_of(folder)
        looked.append([f for f, content in files.items() if KEY.encode() in content])
        assert any(f.name == "tokenizer.json" for f in files)
        for process in psutil.process_iter(["cmdline"]):
            assert not any(KEY in part for part in process.info["cmdline"] or ())

    behavior = Behavior(fault=Fault.STATUS, fault_status=401, echo_headers=True, fault_when=lambda n: n % 2 == 1)
    async with mock_openai(behavior) as server:
        window = make_window(folder, TWO, on_progress=look, duration_s=1.0)
        seen = await benchmark.measure(UrlEndpoint(server.url, client=runner), window)
        assert server.log[0].headers["authorization"] == f"Bearer {KEY}"
    assert looked
    assert not any(looked)
    assert seen.errors == {"http_401": seen.failed}
    said = b"".join(runner.said) + runner.stderr + seen.model_dump_json().encode()
    assert KEY.encode() not in said
    assert KEY not in json.dumps(read_records(folder / "records.parquet").columns)
    return said


async def test_the_key_is_in_no_file_no_command_line_and_no_record(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = await key_stays_secret(scripted(tokenizer, api_key_env="MY_KEY"), tmp_path, monkeypatch)
    assert b"(hidden)" in said, "the server echoed the headers, so something was to be hidden"


def test_a_spec_does_not_print_its_key(tokenizer: Path, tmp_path: Path) -> None:
    window = make_window(tmp_path, ONE, headers={"Authorization": f"Bearer {KEY}"})
    spec = scripted(tokenizer)._spec(UrlEndpoint("http://127.0.0.1:1"), window)
    assert spec.api_key == KEY
    assert KEY not in repr(spec)
    assert GenaiSpec.from_json(spec.to_json()) == spec


def test_an_unusable_spec_is_one_line() -> None:
    argv = [sys.executable, "-m", "autotuner.benchmarks.genai_bench.worker"]
    done = subprocess.run(argv, input=b'{"api_key": "sk-secret", "plan"', capture_output=True, timeout=30)
    assert done.returncode == 2
    assert json.loads(done.stdout)["kind"] == "error"
    assert b"sk-secret" not in done.stdout + done.stderr


async def test_it_gets_an_allowed_environment_and_ends_with_all_its_children(
    tokenizer: Path, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    note = tmp_path / "note.json"
    async with mock_openai() as server, anyio.create_task_group() as group:
        endpoint = UrlEndpoint(server.url, client=LocalRunner())
        window = make_window(tmp_path, ONE, duration_s=60.0)
        group.start_soon(scripted(tokenizer, f"note={note}", "child=1").measure, endpoint, window)
        with anyio.fail_after(30):
            while not note.exists() or not server.log:  # noqa: ASYNC110
                await anyio.sleep(0.02)
        found = json.loads(note.read_text())
        assert [alive(pid) for pid in found["pids"]] == [True, True]
        assert os.getpgid(found["pids"][0]) == found["pids"][0]
        assert os.listdir(temporary) == [Path(found["cwd"]).name]  # noqa: PTH208
        group.cancel_scope.cancel()
    assert [alive(pid) for pid in found["pids"]] == [False, False]
    assert KEY not in json.dumps(found)
    assert "HTTP_PROXY" not in found["env"]
    assert found["env"]["AUTOTUNER_STUDY"] == "kit"
    assert found["env"]["HF_HUB_OFFLINE"] == found["env"]["TRANSFORMERS_OFFLINE"] == "1"


async def test_after_a_window_nothing_of_it_runs(tokenizer: Path, tmp_path: Path) -> None:
    note = tmp_path / "note.json"
    await measured(scripted(tokenizer, f"note={note}", "child=1"), tmp_path)
    assert [alive(pid) for pid in json.loads(note.read_text())["pids"]] == [False, False]


async def test_a_killed_worker_leaves_no_process_and_no_key(
    tokenizer: Path, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    note = tmp_path / "note.json"
    async with mock_openai() as server, anyio.create_task_group() as group:
        window = make_window(tmp_path, ONE, duration_s=60.0)
        benchmark = scripted(tokenizer, f"note={note}", "mute=1", api_key_env="MY_KEY")
        group.start_soon(benchmark.measure, UrlEndpoint(server.url, client=ChildRunner()), window)
        with anyio.fail_after(30):
            while not note.exists():  # noqa: ASYNC110
                await anyio.sleep(0.02)
        group.cancel_scope.cancel()
    (pid,) = json.loads(note.read_text())["pids"]
    with anyio.fail_after(10):
        while alive(pid):  # noqa: ASYNC110 - the kernel ends it
            await anyio.sleep(0.02)
    left = files_of(temporary)
    assert left
    assert not any(KEY.encode() in content for content in left.values())
    emptied(temporary)
