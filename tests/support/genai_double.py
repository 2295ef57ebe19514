"""Scripted genai-bench with the options, files and log lines of version 0.0.5, and faults on demand.

``genai_double.py [behavior=VALUE ...] --version | benchmark OPTIONS``. It really sends requests, one thread per user.

- ``note=FILE``: writes its arguments, its environment, and the process IDs of itself and its child.
- ``crash=CODE``: exits while starting. ``mute=1``: never sends a request.
- ``after=N``: exits after N requests with ``code`` (default 0).
- ``usage=0``: reports no usage. ``version=TEXT``: prints another version.
- ``child=1``: has a child process that ignores SIGTERM.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

_SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
_LOCK = threading.Lock()


def log(origin: str, text: str, level: str = "DEBUG") -> None:
    with _LOCK:
        sys.stdout.write(f"{level:<8} 2026-01-05 01:36:04.%f - {origin} - {text}\n")
        sys.stdout.flush()


class Double:
    def __init__(self, behavior: dict[str, str], options: dict[str, str]) -> None:
        self.behavior = behavior
        self.options = options
        self.url = urlsplit(options["--api-base"])
        self.key = os.environ.get("MODEL_API_KEY") or options["--api-key"]
        self.left = int(behavior.get("after", 10**9))

    def start(self) -> None:
        """Writes options and secrets into log and metadata, as genai-bench does before its first request."""
        shown = {**self.options, "model_api_key": os.environ.get("MODEL_API_KEY")}
        for name, value in shown.items():
            log("genai_bench.benchmark:benchmark", f"{name}: {value}", "INFO")
        folder = Path(self.options["--experiment-base-dir"]) / self.options["--experiment-folder-name"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "experiment_metadata.json").write_text(json.dumps(shown))
        with (Path(self.options["--log-dir"]) / "genai_bench.log").open("a") as file:
            file.write(json.dumps(shown))
        if "crash" in self.behavior:
            sys.stderr.write(f"Error: cannot start with {self.key}\n")
            sys.exit(int(self.behavior["crash"]))
        pids = [os.getpid()]
        if "child" in self.behavior:
            pids.append(subprocess.Popen([sys.executable, "-c", _SLEEPER]).pid)
        if "note" in self.behavior:
            note = {"argv": sys.argv, "env": dict(os.environ), "pids": pids, "cwd": str(Path.cwd())}
            part = Path(self.behavior["note"] + ".part")
            part.write_text(json.dumps(note))
            part.rename(self.behavior["note"])
        log("genai_bench.benchmark:benchmark", "Starting benchmark with concurrency=1, spawn_rate=1", "INFO")

    def user(self) -> None:
        while True:
            with _LOCK:
                self.left -= 1
                if self.left < 0:
                    os._exit(int(self.behavior.get("code", "0")))
            self.request()

    def request(self) -> None:
        _, tokens = self.options["--traffic-scenario"].strip("D()").split(",")
        body = {
            "model": self.options["--api-model-name"],
            "max_tokens": int(tokens),
            "stream": True,
            "messages": [{"role": "user", "content": " ".join(["x"] * 16)}],
            **json.loads(self.options.get("--additional-request-params", "{}")),
            **({"ignore_eos": True} if self.options["--api-backend"] != "openai" else {}),
        }
        started = time.monotonic()
        log("urllib3.connectionpool:_new_conn", f"Starting new HTTP connection (1): {self.url.netloc}")
        connection = HTTPConnection(self.url.hostname or "", self.url.port, timeout=30)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        origin = f"http://{self.url.netloc}"
        log(
            "urllib3.connectionpool:_make_request",
            f'{origin} "POST /v1/chat/completions HTTP/1.1" {response.status} None',
        )
        if response.status == 200:
            self.answer(started, (json.loads(d) for d in events(response)))
        else:
            error = f"Error code: {response.status}, message: {response.read().decode()}."
            log(
                "genai_bench.user.base_user:collect_metrics", f"Received error response from server. {error}", "WARNING"
            )
        log("locust.runners:send_message", "Running locally: sending request_metrics message to self")
        connection.close()

    def answer(self, started: float, chunks: Iterator[dict]) -> None:  # type: ignore[type-arg]
        text = ""
        first = None
        finish = None
        usage = {}
        for chunk in chunks:
            usage = chunk.get("usage") or usage
            for choice in chunk["choices"]:
                content = choice["delta"].get("content")
                finish = choice.get("finish_reason") or finish
                if content:
                    first = first or time.monotonic()
                    text = text + content
        has_usage = self.behavior.get("usage") != "0"
        lines = [
            f"Generated text: {text} ",
            f"Time at first token: {first} ",
            f"Finish reason: {finish}",
            f"Prompt Tokens: {usage['prompt_tokens'] if has_usage else None} ",
            f"Completion Tokens: {usage['completion_tokens'] if has_usage else 0}",
            f"Start Time: {started}",
            f"End Time: {time.monotonic()}",
        ]
        log("genai_bench.user.openai_user:parse_chat_response", "\n".join(lines))


def events(lines: Iterator[bytes]) -> Iterator[bytes]:
    for line in lines:
        data = line.strip().removeprefix(b"data: ")
        if data == b"[DONE]":
            return
        if data:
            yield data


def main() -> None:
    at = next(i for i, argument in enumerate(sys.argv) if argument in ("--version", "benchmark"))
    behavior = dict(argument.split("=", 1) for argument in sys.argv[1:at])
    if sys.argv[at] == "--version":
        sys.stdout.write(behavior.get("version", "genai-bench version 0.0.5") + "\n")
        return
    rest = sys.argv[at + 1 :]
    double = Double(behavior, dict(zip(rest[::2], rest[1::2], strict=True)))
    double.start()
    if "mute" in behavior:
        time.sleep(600)
    for _ in range(int(double.options["--num-concurrency"])):
        threading.Thread(target=double.user).start()


if __name__ == "__main__":
    main()
