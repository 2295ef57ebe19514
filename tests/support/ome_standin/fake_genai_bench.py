"""A program with genai-bench's command line and files, which holds nothing but Python's standard library.

It really sends requests, a thread a user, and reports what it measured. With ``FAKE_GENAI_BENCH_FAULT`` it ends well
although it measured nothing (``all_errors``: every request is refused; ``no_files``; ``nothing_completed``: files
without a completed request), or does not (``crash``).
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
    """The command line; ends with 2 for an unknown option, and for a missing key."""
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
    """Input and output tokens; of a distribution its middle. Raises ``ValueError``."""
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

    def __init__(self, told: argparse.Namespace, scenario: str, users: int) -> None:
        self._told = told
        self._scenario = scenario
        self._users = users
        self._url = urlsplit(told.api_base)
        self._tokens = lengths(scenario)
        self._lock = threading.Lock()
        self._left = told.max_requests_per_run
        self._until = time.monotonic() + told.max_time_per_run * 60
        self.requests: list[dict[str, Any]] = []
        self.errors: Counter[str] = Counter()

    def measure(self) -> float:
        """Sends all requests; returns seconds."""
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
                told: dict[str, Any] | str = self._request()
            except (OSError, HTTPException, ValueError) as error:
                told = type(error).__name__
            with self._lock:
                if isinstance(told, str):
                    self.errors[told] += 1
                else:
                    self.requests.append(told)

    def _request(self) -> dict[str, Any] | str:
        """Figures of one request, or the error's code."""
        asked, wanted = self._tokens
        body = {
            "model": self._told.api_model_name,
            "stream": True,
            "max_tokens": wanted,
            "temperature": 0.0,
            "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": " ".join(["word"] * asked)}],
        }
        if FAULT == "all_errors":
            body["model"] = body["messages"] = None
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._told.api_key}"}
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
    put_in = usage["prompt_tokens"]
    put_out = usage["completion_tokens"]
    ttft = first - began
    latency = last - began
    tpot = (latency - ttft) / (put_out - 1) if put_out > 1 else 0.0
    return {
        "ttft": ttft,
        "tpot": tpot,
        "e2e_latency": latency,
        "output_latency": latency - ttft,
        "input_throughput": put_in / ttft,
        "output_throughput": (put_out - 1) / max(latency - ttft, 1e-9),
        "num_input_tokens": put_in,
        "num_output_tokens": put_out,
        "total_tokens": put_in + put_out,
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
    """The content of a result file. ``error_rate`` is always 0, as it is there."""
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
    """As genai-bench calls it: ``D100_100_text-to-text_num_concurrency_1_time_15s.json``."""
    short = re.sub(r"[(/]+", "", scenario.replace(")/(", "_")).replace(",", "_").replace(")", "")
    return f"{short}_{task}_num_concurrency_{users}_time_{round(seconds)}s.json"


def main(argv: list[str], say: Callable[[str], object] = sys.stdout.write) -> int:
    """Runs every scenario at every concurrency."""
    if argv[:1] != ["benchmark"]:
        say(f"genai-bench version {VERSION}\n")
        return 0 if argv == ["--version"] else 2
    told = options(argv[1:])
    if FAULT == "crash":
        _end("Error: cannot reach the hub", 1)
    folder = Path(told.experiment_base_dir) / (told.experiment_folder_name or f"openai_{told.task}_{time.time():.0f}")
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"cmd": " ".join(["genai-bench", *argv]), "benchmark_version": VERSION, **vars(told)}
    (folder / "experiment_metadata.json").write_text(json.dumps(metadata))
    for scenario in told.traffic_scenario:
        for users in told.num_concurrency:
            run = Run(told, scenario, users)
            seconds = run.measure()
            say(f"{scenario} at {users}: {len(run.requests)} completed, errors {dict(run.errors)}\n")
            if FAULT == "no_files" or not (run.requests or run.errors):
                continue
            name = file_name(scenario, told.task, users, seconds)
            (folder / name).write_text(json.dumps(report(run, scenario, users, seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
