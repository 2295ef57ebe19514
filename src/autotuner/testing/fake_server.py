"""A scripted inference server, standard library only, that misbehaves on demand for tests of deployers.

It implements enough of the OpenAI API for a load generator: ``/v1/chat/completions`` and ``/v1/completions`` (streamed
or not), ``/v1/embeddings``, ``/v1/rerank``, ``/v1/models``, ``/health``, ``/props`` and ``/slots``. ``--parallel``
requests run at a time and each token takes ``--token-ms``, so throughput depends on its flags as a real server's does.

``python -m autotuner.testing.fake_server --host 127.0.0.1 --port 8000 [OPTION]...``
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fake_server", allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--model", default="fake")
    parser.add_argument("--note", default="", help="any text, passed through")
    parser.add_argument("--parallel", type=int, default=4, help="concurrent requests")
    parser.add_argument("--token-ms", type=float, default=1.0, help="milliseconds per token")
    parser.add_argument("--tp", type=int, default=0, help="no effect: GPUs that a trial leases")
    parser.add_argument("--turbo", action="store_true", help="halves --token-ms")
    parser.add_argument("--ready-after", type=float, default=0.0, help="seconds until /health returns 200")
    parser.add_argument("--never-ready", action="store_true", help="/health always returns 503")
    parser.add_argument("--never-listen", action="store_true", help="run without listening")
    parser.add_argument("--exit-after", type=float, help="seconds until the server exits")
    parser.add_argument("--exit-code", type=int, default=1, help="exit code of --exit-after and --exit-requests")
    parser.add_argument("--exit-requests", type=int, help="requests after which the server exits")
    parser.add_argument("--say", default="", help="line to write to stderr at startup")
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--child", action="store_true", help="start a child in the process group that ignores SIGTERM")
    parser.add_argument("--daemon", action="store_true", help="start a child in its own session that ignores SIGTERM")
    parser.add_argument("--pids", type=Path, help="file for the process IDs of server, child and daemon")
    parser.add_argument("--reuse-port", action="store_true", help="share the port with other servers that do")
    return parser


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512
    allow_reuse_address = True

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.begun = time.monotonic()
        self.slots = threading.Semaphore(options.parallel)
        self.answered = 0
        self.allow_reuse_port = options.reuse_port
        super().__init__((options.host, options.port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores clients that disconnect."""

    @property
    def ready(self) -> bool:
        """Whether ``/health`` returns 200."""
        waited = time.monotonic() - self.begun >= self.options.ready_after
        return waited and not self.options.never_ready


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Logs nothing per request."""

    def _json(self, body: object, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        options = self.server.options
        if self.path == "/health":
            self._json(
                {"status": "ok"} if self.server.ready else {"status": "loading"}, 200 if self.server.ready else 503
            )
        elif self.path == "/v1/models":
            self._json({"object": "list", "data": [{"id": options.model, "object": "model"}]})
        elif self.path == "/props":
            self._json({"total_slots": options.parallel, "pid": os.getpid()})
        elif self.path == "/slots":
            self._json([{"id": i} for i in range(options.parallel)])
        else:
            self._json({"error": {"message": "not found"}}, 404)

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        with self.server.slots:
            if self.path.endswith(("/embeddings", "/rerank")):
                self._pool(request)
            else:
                self._complete(request, chat="chat" in self.path)
        self.server.answered += 1
        if self.server.options.exit_requests == self.server.answered:
            _leave(self.server.options, "enough requests")

    def _pool(self, request: dict[str, Any]) -> None:
        """Embeddings or a ranking; each document takes as long as a token."""
        options = self.server.options
        texts = request.get("documents") or request.get("input") or ""
        texts = texts if isinstance(texts, list) else [texts]
        time.sleep(options.token_ms / 1000 / (2 if options.turbo else 1) * len(texts))
        counts = [len(f"{request.get('query', '')} {text}".split()) for text in texts]
        usage = {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
        if "documents" in request:
            results = [{"index": i, "relevance_score": 0.5} for i in range(len(texts))]
            self._json({"model": options.model, "results": results, "usage": usage})
            return
        data = [{"object": "embedding", "index": i, "embedding": [0.5, 0.5]} for i in range(len(texts))]
        self._json({"object": "list", "model": options.model, "data": data, "usage": usage})

    def _complete(self, request: dict[str, Any], *, chat: bool) -> None:
        options = self.server.options
        count = int(request.get("max_tokens") or request.get("max_completion_tokens") or 16)
        prompt = json.dumps(request.get("messages") or request.get("prompt") or "")
        usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": count}
        usage["total_tokens"] = sum(usage.values())
        pause = options.token_ms / 1000 / (2 if options.turbo else 1)
        if not request.get("stream"):
            time.sleep(pause * count)
            text = "word " * count
            choice = {"index": 0, "finish_reason": "length"}
            answer = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            self._json({"object": "completion", "model": options.model, "choices": [choice | answer], "usage": usage})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for i in range(count):
            time.sleep(pause)
            delta = {"delta": {"content": f"w{i} "}} if chat else {"text": f"w{i} "}
            self._event({"choices": [{"index": 0, "finish_reason": None} | delta]})
        end: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
        self._event({"choices": [{"index": 0, "finish_reason": "length"} | end]})
        if (request.get("stream_options") or {}).get("include_usage"):
            self._event({"choices": [], "usage": usage})
        self._chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, body: object) -> None:
        self._chunk(b"data: " + json.dumps(body).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


def _leave(options: argparse.Namespace, why: str) -> None:
    sys.stderr.write(f"fake_server: leaving: {why}\n")
    sys.stderr.flush()
    if options.exit_code < 0:
        os.kill(os.getpid(), -options.exit_code)
    os._exit(options.exit_code)


def _relatives(options: argparse.Namespace) -> list[int]:
    """Starts the requested children; returns their process IDs."""
    started = []
    if options.child:
        started.append(subprocess.Popen([sys.executable, "-c", _SLEEPER]).pid)
    if options.daemon:
        started.append(subprocess.Popen([sys.executable, "-c", _SLEEPER], start_new_session=True).pid)
    return started


def main() -> int:
    """Serves until SIGTERM; returns 1 if the port cannot be bound."""
    options = _parser().parse_args()
    sys.stderr.write(f"fake_server: {options.say}\n")
    sys.stderr.flush()
    if options.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    relatives = _relatives(options)
    if options.pids:
        partial = options.pids.with_suffix(".part")
        partial.write_text(json.dumps([os.getpid(), *relatives]))
        partial.replace(options.pids)
    if options.exit_after is not None:
        timer = threading.Timer(options.exit_after, _leave, (options, "time is up"))
        timer.daemon = True
        timer.start()
    if options.never_listen:
        threading.Event().wait()
    try:
        server = _Server(options)
    except OSError as error:
        sys.stderr.write(f"fake_server: cannot bind {options.host}:{options.port}: {error.strerror}\n")
        return 1
    with server:
        server.serve_forever(poll_interval=0.02)
    return 0


if __name__ == "__main__":
    sys.exit(main())
