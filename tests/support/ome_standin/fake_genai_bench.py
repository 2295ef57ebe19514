"""Program with genai-bench's command line and result files that only needs Python's standard library.

It sends requests, with one thread per user, and reports its measurements. With ``FAKE_GENAI_BENCH_FAULT`` it succeeds
without a usable result (``all_errors``: every request is rejected; ``no_files``; ``nothing_completed``: files without a
completed request), or fails (``crash``).
"""

import argparse
import json
import os
import re
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

FAULT = os.environ.get("FAKE_GENAI_BENCH_FAULT", "")
VERSION = "0.1.113"
_SCENARIO = re.compile(r"([NUD])\((\d+),\s*(\d+)\)(?:/\((\d+),\s*(\d+)\))?")
_LAST_PERCENT = (25, 50, 75, 90, 95, 99)


def options(argv: list[str]) -> argparse.Namespace:
    """Parses the command line; exits with 2 for an unknown option or a missing key."""
    parser = argparse.ArgumentParser(prog="genai-bench benchmark", allow_abbrev=False)
    for name in ("--api-backend", "--api-base", "--api-model-name", "--task"):
        parser.add_argument(name, required=True)
    for name in ("--max-time-per-run", "--max-requests-per-run"):
        parser.add_argument(name, type=int, required=True)
    for name in ("--api-key", "--model-tokenizer", "--experiment-folder-name"):
        parser.add_argument(name, default="")
    parser.add_argument("--experiment-base-dir", default=".")
    parser.add_argument("--traffic-scenario", action="append", default=[])
    parser.add_argument("--num-concurrency", type=int, action="append", default=[])
    for name in ("--server-engine", "--server-gpu-type", "--server-version", "--server-gpu-count"):
        parser.add_argument(name, default="")
    found, unknown = parser.parse_known_args(argv)
    if unknown:
        _end(f"Error: No such option: {unknown[0]}", 2)
    if not found.api_key:
        _end("Error: API key is required for the openai backend", 2)
    if not Path(found.model_tokenizer or "/nowhere").is_dir():
        _end(f"Error: {found.model_tokenizer!r} is not a tokenizer", 1)
    return found


def _end(text: str, code: int) -> None:
    sys.stderr.write(text + "\n")
    sys.exit(code)


def lengths(scenario: str) -> tuple[int, int]:
    """Returns input and output tokens, the means of a distribution. Raises ``ValueError``."""
    found = _SCENARIO.match(scenario)
    if found is None:
        raise ValueError(f"{scenario} is not a scenario")
    one, two, three, four = (int(n) if n else 0 for n in found.groups()[1:])
    if found[1] == "D":
        return one, two
    if found[1] == "N":
        return one, three
    return ((one + two) // 2, (three + four) // 2) if three or four else (one // 2 or 1, two // 2 or 1)


class Run:
    """One scenario at one concurrency."""

    def __init__(self, options: argparse.Namespace, scenario: str, users: int) -> None:
        self._options = options
        self._scenario = scenario
        self._users = users
        self._url = urlsplit(options.api_base)
        self._tokens = lengths(scenario)
        self._lock = threading.Lock()
        self._left = options.max_requests_per_run
        self._until = time.monotonic() + options.max_time_per_run * 60
        self.requests: list[dict[str, Any]] = []
        self.errors: Counter[str] = Counter()

    def measure(self) -> float:
        """Sends all requests; returns the duration in seconds."""
        began = time.monotonic()
        users = [threading.Thread(target=self._user) for _ in range(self._users)]
        for user in users:
            user.start()
        for user in users:
            user.join()
        return time.monotonic() - began

    def _user(self) -> None:
        while time.monotonic() < self._until:
            with self._lock:
                self._left -= 1
                if self._left < 0:
                    return
            try:
                result: dict[str, Any] | str = self._request()
            except (OSError, HTTPException, ValueError) as error:
                result = type(error).__name__
            with self._lock:
                if isinstance(result, str):
                    self.errors[result] += 1
                else:
                    self.requests.append(result)

    def _request(self) -> dict[str, Any] | str:
        """Returns the metrics of one request, or its error code."""
        input_tokens, output_tokens = self._tokens
        body = {
            "model": self._options.api_model_name,
            "stream": True,
            "max_tokens": output_tokens,
            "temperature": 0.0,
            "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": " ".join(["word"] * input_tokens)}],
        }
        if FAULT == "all_errors":
            body["model"] = body["messages"] = None
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._options.api_key}"}
        connection = HTTPConnection(self._url.hostname or "", self._url.port or 80, timeout=60)
        began = time.monotonic()
        try:
            path = self._url.path.rstrip("/").removesuffix("/v1") + "/v1/chat/completions"
            connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            if answer.status != 200:
                answer.read()
                return str(answer.status)
            return _read(answer, began)
        finally:
            connection.close()


def _read(lines: Any, began: float) -> dict[str, Any] | str:
    first = 0.0
    last = 0.0
    usage: dict[str, Any] = {}
    for line in lines:
        data = line.strip().removeprefix(b"data: ")
        if not data or data == b"[DONE]":
            continue
        chunk = json.loads(data)
        usage = chunk.get("usage") or usage
        if any(choice["delta"].get("content") for choice in chunk.get("choices") or []):
            last = time.monotonic()
            first = first or last
    if not first or not usage:
        return "no tokens"
    prompt_tokens = usage["prompt_tokens"]
    completion_tokens = usage["completion_tokens"]
    ttft = first - began
    latency = last - began
    tpot = (latency - ttft) / (completion_tokens - 1) if completion_tokens > 1 else 0.0
    return {
        "ttft": ttft,
        "tpot": tpot,
        "e2e_latency": latency,
        "output_latency": latency - ttft,
        "input_throughput": prompt_tokens / ttft,
        "output_throughput": (completion_tokens - 1) / max(latency - ttft, 1e-9),
        "num_input_tokens": prompt_tokens,
        "num_output_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "error_code": None,
        "error_message": None,
    }


def _figures(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    made = {"min": ordered[0], "max": ordered[-1], "mean": statistics.fmean(ordered), "sum": sum(ordered)}
    made["stddev"] = statistics.pstdev(ordered)
    last = len(ordered) - 1
    return made | {f"p{p}": ordered[round(last * p / 100)] for p in _LAST_PERCENT}


def report(run: Run, scenario: str, users: int, seconds: float) -> dict[str, Any]:
    """Returns the content of a result file. ``error_rate`` is always 0, as in genai-bench."""
    good = [] if FAULT == "nothing_completed" else run.requests
    failed = sum(run.errors.values())
    names = [name for name, value in (good[0] if good else {}).items() if value is not None]
    tokens = sum(one["num_output_tokens"] for one in good)
    metrics = {
        "scenario": scenario,
        "num_concurrency": users,
        "iteration_type": "num_concurrency",
        "run_duration": seconds,
        "mean_output_throughput_tokens_per_s": tokens / seconds,
        "mean_input_throughput_tokens_per_s": sum(one["num_input_tokens"] for one in good) / seconds,
        "requests_per_second": len(good) / seconds,
        "error_codes_frequency": dict(run.errors),
        "error_rate": 0.0,
        "num_error_requests": failed,
        "num_completed_requests": len(good),
        "num_requests": len(good) + failed,
        "stats": {name: _figures([one[name] for one in good]) for name in names},
    }
    return {"aggregated_metrics": metrics, "individual_request_metrics": good}


def file_name(scenario: str, task: str, users: int, seconds: float) -> str:
    """Returns genai-bench's name of a result file: ``D100_100_text-to-text_num_concurrency_1_time_15s.json``."""
    short = re.sub(r"[(/]+", "", scenario.replace(")/(", "_")).replace(",", "_").replace(")", "")
    return f"{short}_{task}_num_concurrency_{users}_time_{round(seconds)}s.json"


def main(argv: list[str], say: Callable[[str], object] = sys.stdout.write) -> int:
    """Runs every scenario at every concurrency."""
    if argv[:1] != ["benchmark"]:
        say(f"genai-bench version {VERSION}\n")
        return 0 if argv == ["--version"] else 2
    given = options(argv[1:])
    if FAULT == "crash":
        _end("Error: cannot reach the hub", 1)
    folder = Path(given.experiment_base_dir) / (
        given.experiment_folder_name or f"openai_{given.task}_{time.time():.0f}"
    )
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"cmd": " ".join(["genai-bench", *argv]), "benchmark_version": VERSION, **vars(given)}
    (folder / "experiment_metadata.json").write_text(json.dumps(metadata))
    for scenario in given.traffic_scenario:
        for users in given.num_concurrency:
            run = Run(given, scenario, users)
            seconds = run.measure()
            say(f"{scenario} at {users}: {len(run.requests)} completed, errors {dict(run.errors)}\n")
            if FAULT == "no_files" or not (run.requests or run.errors):
                continue
            name = file_name(scenario, given.task, users, seconds)
            (folder / name).write_text(json.dumps(report(run, scenario, users, seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
