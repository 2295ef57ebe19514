"""Benchmark of the load generator beside other clients: CPU per token and accuracy, against a mock server that logs the
true times.

    python benchmarks/loadgen.py [--genai-bench PATH] [--vllm PATH] [--requests 3000] [--workers 4]

The server (C, ``benchmarks/mock/mock.c``) has one core, the client another (as many as ``--workers`` in the last row);
TTFT 50 ms, ITL 5 ms, 64 tokens in, 100 out. CPU is that of the client's whole process tree: from the server's first
request to its last token ("under load", so no client pays for its imports), and from there to the client's end ("after
it": records, summary, plots). The TTFT error is the client's value minus the server's own, which is the time from the
arrival of a request to just before its first token is sent. Machines are noisy: trust the ratios more than the
absolute values, or pass ``--nice -15`` (as root) to take precedence over other processes.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import psutil
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from autotuner.benchmarks.loadgen.http.descriptors import raise_descriptor_limit
from autotuner.benchmarks.loadgen.prompt_words import WORDS
from autotuner.benchmarks.loadgen.spec import Lengths, WorkerSpec
from autotuner.benchmarks.native import WORKER, NativeBenchmark, NativeSettings
from autotuner.study.workload import Concurrency
from autotuner.testing.benchmark_kit import UrlEndpoint, fixed_scenario, make_window

HERE = Path(__file__).parent
TTFT_US = 50_000
ITL_US = 5_000
TOKENS_IN = 64
TOKENS_OUT = 100
MANY = 4096
"""Requests in flight of the last row."""


@dataclass
class Run:
    """One run of one client."""

    load_us: float
    """Microseconds of CPU per token while the load ran."""
    after_us: float
    """Microseconds of CPU per token after the load."""
    truth_ms: Any
    ttft_ms: Any
    """The client's own TTFT values in milliseconds; empty if it keeps none."""

    @property
    def total_us(self) -> float:
        """CPU per token of a whole measurement, without imports."""
        return self.load_us + self.after_us


@dataclass
class Client:
    """How to run a client: (url, in flight, requests, folder) -> (argv, stdin), and how to read its TTFTs."""

    name: str
    command: Callable[[str, int, int, Path], tuple[list[str], bytes]]
    ttfts: Callable[[Path, bytes], Any]
    cores: int = 1
    """Cores that it may use, besides the server's."""


class CpuWatch(Thread):
    """A thread that samples the CPU time of a process tree until :meth:`stop`."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self._over = Event()
        self._seen: dict[int, float] = {}
        self.times: list[float] = []
        self.used: list[float] = []

    def run(self) -> None:
        while not self._over.wait(0.05):
            for process in (self._root, *self._children()):
                with suppress(psutil.Error):
                    times = process.cpu_times()
                    self._seen[process.pid] = times.user + times.system
            self.times.append(time.monotonic())
            self.used.append(sum(self._seen.values()))

    def stop(self) -> None:
        self._over.set()
        self.join()

    def between(self, begin: float, end: float) -> float:
        first, last = np.interp([begin, end], self.times, self.used)
        return float(last - first)

    def _children(self) -> list[psutil.Process]:
        try:
            return self._root.children(recursive=True)
        except psutil.Error:
            return []


@contextmanager
def server(binary: Path, folder: Path, prefix: list[str]) -> Iterator[tuple[str, Path]]:
    truth = folder / "truth.txt"
    argv = [*prefix, str(binary), "0", str(TTFT_US), str(ITL_US), str(truth)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}", truth
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def on_cores(first: int, count: int, nice: int) -> list[str]:
    last = max(first, min(first + count, os.cpu_count() or 1) - 1)
    return ["taskset", "-c", f"{first}-{last}", "nice", "-n", str(nice)]


def measured(client: Client, binary: Path, in_flight: int, requests: int, nice: int) -> Run:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with server(binary, folder, on_cores(0, 1, nice)) as (url, truth):
            argv, stdin = client.command(url, in_flight, requests, folder)
            (folder / "stdin").write_bytes(stdin)
            env = os.environ | {"HF_HUB_OFFLINE": "1", "VLLM_TARGET_DEVICE": "cpu", "TQDM_DISABLE": "1"}
            with (folder / "stdin").open("rb") as given, (folder / "out").open("wb") as out:
                process = subprocess.Popen(
                    [*on_cores(1, client.cores, nice), *argv],
                    stdin=given,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=env,
                    cwd=folder,
                )
                watch = CpuWatch(process.pid)
                watch.start()
                code = process.wait(timeout=900)
                watch.stop()
        stdout = (folder / "out").read_bytes()
        if code != 0:
            sys.exit(f"{client.name} failed:\n{stdout.decode(errors='replace')[-3000:]}")
        rows = np.loadtxt(truth, ndmin=2, dtype=np.int64)
        tokens = rows[:, 4].sum()
        begin = rows[:, 1].min() / 1e9
        end = rows[:, 3].max() / 1e9
        whole = rows[rows[:, 4] == TOKENS_OUT]
        return Run(
            load_us=watch.between(begin, end) / tokens * 1e6,
            after_us=watch.between(end, watch.times[-1]) / tokens * 1e6,
            truth_ms=(whole[:, 2] - whole[:, 1]) / 1e6,
            ttft_ms=np.asarray(client.ttfts(folder, stdout)),
        )


# the clients


def native(workers: int = 1) -> Client:
    def command(url: str, in_flight: int, requests: int, folder: Path) -> tuple[list[str], bytes]:
        spec = WorkerSpec(
            url=url,
            model="mock",
            concurrency=in_flight,
            requests=requests,
            duration_s=600.0,
            warmup_s=1.0,
            input=Lengths("fixed", TOKENS_IN),
            output=Lengths("fixed", TOKENS_OUT),
            drain_s=1.0,
            workers=workers,
        )
        return [sys.executable, "-m", WORKER], spec.to_json()

    def ttfts(folder: Path, stdout: bytes) -> list[float]:
        messages = [json.loads(line) for line in stdout.splitlines() if line.startswith(b"{")]
        rows = [r for line in messages if line["kind"] == "records" for r in line["records"] if r["complete"]]
        return [(r["first_ns"] - r["sent_ns"]) / 1e6 for r in rows if not r["ramp"]]

    name = "autotuner" if workers == 1 else f"autotuner, {workers} workers"
    return Client(name, command, ttfts, cores=workers)


def native_whole() -> Client:
    """The load generator with its parent, which reads the records, writes them as Parquet and summarizes them."""

    def command(url: str, in_flight: int, requests: int, folder: Path) -> tuple[list[str], bytes]:
        return [sys.executable, __file__, "--whole", url, str(in_flight), str(requests), str(folder)], b""

    return Client("autotuner + records + summary", command, lambda folder, stdout: [])


def genai_bench(path: str, tokenizer: Path) -> Client:
    def command(url: str, in_flight: int, requests: int, folder: Path) -> tuple[list[str], bytes]:
        return [
            path,
            "benchmark",
            "--api-backend",
            "vllm",
            "--api-base",
            url,
            "--api-key",
            "none",
            "--api-model-name",
            "mock",
            "--model-tokenizer",
            str(tokenizer),
            "--task",
            "text-to-text",
            "--max-time-per-run",
            "15",
            "--max-requests-per-run",
            str(requests),
            "--num-concurrency",
            str(in_flight),
            "--traffic-scenario",
            f"D({TOKENS_IN},{TOKENS_OUT})",
            "--experiment-base-dir",
            str(folder),
            "--experiment-folder-name",
            "run",
        ], b""

    def ttfts(folder: Path, stdout: bytes) -> list[float]:
        found = [json.loads(f.read_text()) for f in (folder / "run").glob("*_time_*.json")]
        return [m["ttft"] * 1000 for run in found for m in run["individual_request_metrics"] if m.get("ttft")]

    return Client("genai-bench", command, ttfts)


def vllm_bench(path: str, tokenizer: Path) -> Client:
    def command(url: str, in_flight: int, requests: int, folder: Path) -> tuple[list[str], bytes]:
        return [
            path,
            "bench",
            "serve",
            "--backend",
            "openai-chat",
            "--base-url",
            url,
            "--endpoint",
            "/v1/chat/completions",
            "--model",
            "mock",
            "--tokenizer",
            str(tokenizer),
            "--dataset-name",
            "random",
            "--random-input-len",
            str(TOKENS_IN),
            "--random-output-len",
            str(TOKENS_OUT),
            "--num-prompts",
            str(requests),
            "--max-concurrency",
            str(in_flight),
            "--ignore-eos",
            "--save-result",
            "--save-detailed",
            "--result-dir",
            str(folder),
            "--result-filename",
            "result.json",
        ], b""

    def ttfts(folder: Path, stdout: bytes) -> list[float]:
        return [t * 1000 for t in json.loads((folder / "result.json").read_text())["ttfts"] if t]

    return Client("vllm bench serve", command, ttfts)


async def whole(url: str, in_flight: int, requests: int, folder: Path) -> None:
    level = Concurrency(in_flight=in_flight)
    scenario = fixed_scenario(TOKENS_IN, TOKENS_OUT)
    window = make_window(folder, level, scenario=scenario, requests=requests, duration_s=600.0, warmup_s=1.0)
    await NativeBenchmark(NativeSettings()).measure(UrlEndpoint(url), window)


def make_tokenizer(folder: Path) -> Path:
    """Writes a tokenizer folder that other clients can load without the Hub."""
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(("?", *WORDS))}, unk_token="?"))  # noqa: S106
    tokenizer.pre_tokenizer = Whitespace()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "?", "chat_template": "{{ messages }}"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


# the table


def show(label: str, run: Run, base: float | None) -> None:
    ratio = f"{run.total_us / base:8.2f}x" if base else " " * 9
    errors = ""
    if len(run.ttft_ms):
        p50, p99 = (np.percentile(run.ttft_ms, q) - np.percentile(run.truth_ms, q) for q in (50, 99))
        errors = f"{p50:12.3f} {p99:12.3f}"
    print(f"{label:34} {run.total_us:10.1f} {ratio} {run.load_us:11.1f} {run.after_us:12.1f} {errors}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--genai-bench", default=shutil.which("genai-bench"), help="path of the genai-bench executable")
    parser.add_argument("--vllm", default=shutil.which("vllm"), help="path of the vllm executable")
    parser.add_argument("--requests", type=int, default=3000, help="requests per run")
    parser.add_argument("--workers", type=int, default=1, help=f"processes that keep {MANY:,} requests in flight")
    parser.add_argument("--nice", type=int, default=0, help="niceness of client and server")
    parser.add_argument("--whole", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.whole:
        url, in_flight, requests, folder = args.whole
        asyncio.run(whole(url, int(in_flight), int(requests), Path(folder)))
        return
    raise_descriptor_limit()
    with tempfile.TemporaryDirectory() as name:
        binary = Path(name) / "mock"
        tokenizer = make_tokenizer(Path(name) / "tokenizer")
        subprocess.run(["cc", "-O2", "-o", str(binary), str(HERE / "mock" / "mock.c")], check=True)
        plan = [(native(), 64), (native_whole(), 64)]
        plan += [(genai_bench(args.genai_bench, tokenizer), 64)] if args.genai_bench else []
        plan += [(vllm_bench(args.vllm, tokenizer), 64)] if args.vllm else []
        plan += [(native(), 256), (native(args.workers), MANY)]
        print(f"{'client @ in flight':34} {'CPU us/tok':>10} {'ratio':>9}", end=" ")
        print(f"{'under load':>11} {'after it':>12} {'TTFT p50 err':>12} {'p99 err ms':>12}")
        base: float | None = None
        for client, in_flight in plan:
            run = measured(client, binary, in_flight, max(args.requests, 2 * in_flight), args.nice)
            show(f"{client.name} @ {in_flight}", run, base)
            base = base or run.total_us


if __name__ == "__main__":
    main()
