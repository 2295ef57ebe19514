"""The installed genai-bench (``make test-genai`` installs one)."""

import json
import os
from pathlib import Path
from statistics import median

import anyio
import pytest

from autotuner.benchmarks.genai_bench.benchmark import COMMAND_VARIABLE, GenaiBench, GenaiBenchSettings
from autotuner.benchmarks.genai_bench.log import Answer, LogReader
from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.plugins.benchmark import Benchmark
from autotuner.study.workload import Scenario, TokenLengths
from autotuner.testing.benchmark_kit import BenchmarkConformance, fixed_scenario
from autotuner.testing.mock_openai import Behavior, Fault, mock_openai
from support.genai_bench import ONE, emptied, key_stays_secret, measured

KNOWN_VENV = Path(__file__).parents[4] / ".cache" / "genai-bench" / "bin" / "genai-bench"
REAL = os.environ.get(COMMAND_VARIABLE) or (str(KNOWN_VENV) if KNOWN_VENV.exists() else "")
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.genai,
    pytest.mark.skipif(not REAL, reason="no genai-bench: make test-genai installs one"),
]


class TestReal(BenchmarkConformance):
    """Conformance of genai-bench itself."""

    open_loop = False

    @pytest.fixture
    def benchmark(self, tokenizer: Path) -> Benchmark:
        return GenaiBench(GenaiBenchSettings(command=REAL, tokenizer=str(tokenizer)))

    async def test_agreement_with_the_native_client(self, benchmark: Benchmark, tmp_path: Path) -> None:
        """Requests, tokens and times of one user, compared with the server's log and with our own client."""
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

    async def test_log_and_result_file_agree(self, tokenizer: Path, temporary: Path) -> None:
        """A complete run writes the same values for each request into its result file as into its log."""
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
    async def test_every_failed_request_counts(self, benchmark: Benchmark, tmp_path: Path, fault: Fault) -> None:
        """Each fault has the error kind of our definitions."""
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
        """Drawn lengths, and answers of one token, which genai-bench's result file omits."""
        kind = {"N": "normal", "U": "uniform", "D": "fixed"}[text[0]]
        lengths = TokenLengths.model_validate({"kind": kind, "a": 16, "b": 4})
        scenario = Scenario(text=text, input=lengths, output=lengths.model_copy(update={"a": 1}))
        seen, server = await measured(benchmark, tmp_path, scenario=scenario)
        assert seen.requests > 0
        assert seen.failed == 0
        assert all(t.body["max_tokens"] <= 16 for t in server.log)
        assert all(t.body["ignore_eos"] is True for t in server.log)

    async def test_key_is_on_no_disk(self, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Neither while genai-bench runs nor afterward, although it writes its options into two files."""
        await key_stays_secret(
            GenaiBench(GenaiBenchSettings(command=REAL, tokenizer=str(tokenizer), api_key_env="MY_KEY")),
            tmp_path,
            monkeypatch,
        )
