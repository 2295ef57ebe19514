"""Sampling a server's metrics: what comes of it, and that no answer of a server can do harm."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest

from autotuner.benchmarks.loadgen.metrics import metrics_sampler
from autotuner.benchmarks.loadgen.metrics.metrics_sampler import Sampling
from autotuner.benchmarks.loadgen.metrics.scrape import LARGEST
from autotuner.benchmarks.loadgen.metrics.server_metrics import SAMPLER, Sampler, SamplerSpec, line_of
from autotuner.benchmarks.loadgen.spec import MetricsAsk, WorkerSpec
from autotuner.net.proxies import Proxy
from autotuner.net.target import DIRECT, Access
from autotuner.testing.scripted_http import Asked, Reply, scripted_server

NAMES = ("vllm:num_requests_running", "vllm:num_preemptions_total")
GOOD = b"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 3\nother 5\n"


def text_reply(body: bytes | Iterator[bytes] = GOOD, status: int = 200, **headers: str) -> Callable[[Asked], Reply]:
    return lambda _: Reply(status, body, {"Content-Type": "text/plain", **headers})


Make = Callable[..., Sampling]


@pytest.fixture
def sampling() -> Iterator[Make]:
    made = []

    def make(url: str, *, access: Access = DIRECT, paths: tuple[str, ...] = ("/metrics",), **headers: str) -> Sampling:
        made.append(Sampling(SamplerSpec(url, MetricsAsk(paths, NAMES, timeout_s=0.3), headers, access)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_samples_are_taken_by_the_way_and_with_the_headers_of_the_load(sampling: Make) -> None:
    with scripted_server(text_reply()) as server:
        one = sampling(server.url + "/behind", access=Access(query="key=1"), Authorization="Bearer sk-1")
        for _ in range(3):
            one.sample()
        targets = {asked.target for asked in server.asked}
        keys = {asked.headers["authorization"] for asked in server.asked}
    found = one.result()
    assert found["series"] == {"vllm:num_requests_running": [3.0, 3.0, 3.0]}
    assert len(found["at_ns"]) == 3
    assert (found["failed"], found["notes"]) == (0, [])
    assert targets == {"/behind/metrics?key=1"}
    assert keys == {"Bearer sk-1"}


@pytest.mark.parametrize("status", [301, 401, 403, 404, 501])
def test_a_server_without_metrics_is_asked_once(status: int, sampling: Make) -> None:
    with scripted_server(text_reply(b"no", status, Location="/elsewhere")) as server:
        one = sampling(server.url)
        one.sample()
        assert one.given_up
        assert len(server.asked) == 1
    assert one.result()["notes"] == [f"/metrics: HTTP {status}"]


def test_an_answer_without_known_metrics_is_none(sampling: Make) -> None:
    with scripted_server(text_reply(b"<html>hello</html>")) as server:
        one = sampling(server.url)
        one.sample()
        assert one.given_up


def test_the_next_path_is_tried(sampling: Make) -> None:
    def reply(asked: Asked) -> Reply:
        return text_reply()(asked) if asked.target == "/prometheus/metrics" else Reply(404)

    with scripted_server(reply) as server:
        one = sampling(server.url, paths=("/metrics", "/prometheus/metrics"))
        one.sample()
        one.sample()
    found = one.result()
    assert (found["path"], found["failed"], len(found["at_ns"])) == ("/prometheus/metrics", 0, 1)


def test_a_busy_server_is_asked_again_and_left_alone_in_the_end(sampling: Make) -> None:
    answers = iter([503, 200, *[503] * 20])

    def reply(_: Asked) -> Reply:
        return Reply(next(answers), GOOD)

    with scripted_server(reply) as server:
        one = sampling(server.url)
        while not one.given_up:
            one.sample()
        assert len(server.asked) == 2 + 5
    found = one.result()
    assert (len(found["at_ns"]), found["failed"]) == (1, 6)


def _trickle() -> Iterator[bytes]:
    while True:
        yield b"x"
        time.sleep(0.05)


def _flood() -> Iterator[bytes]:
    for _ in range(LARGEST // 1024 + 2):
        yield b"vllm:x 1\n" * 114


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(_trickle, id="a byte at a time"),
        pytest.param(_flood, id="more than is read"),
        pytest.param(lambda: b"\x00\xff\xfe" * 1000, id="not a text"),
        pytest.param(lambda: b"vllm:num_requests_running NaN\nvllm:num_requests_running{ 3\n", id="no numbers"),
    ],
)
def test_no_answer_harms(body: Callable[[], Any], sampling: Make) -> None:
    with scripted_server(text_reply(body())) as server:
        one = sampling(server.url)
        one.sample()
        found = one.result()
    assert found["at_ns"] == []
    assert found["notes"]


def test_a_compressed_answer_is_refused(sampling: Make) -> None:
    with scripted_server(text_reply(b"\x1f\x8b", **{"Content-Encoding": "gzip"})) as server:
        one = sampling(server.url)
        one.sample()
        assert one.given_up
        assert server.asked[0].headers["accept-encoding"] == "identity"


@contextmanager
def raw_server(answer: bytes) -> Iterator[str]:
    """Answers every connection with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(65536)
                    client.sendall(answer)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nvllm:num_requests_running 3\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500,
        b"HTTP/1.1 200 " + b"a" * 100_000,
    ],
)
def test_what_is_not_http_is_a_failed_sample(answer: bytes, sampling: Make) -> None:
    with raw_server(answer) as url:
        one = sampling(url)
        one.sample()
        one.sample()
    found = one.result()
    assert found["failed"] == 2


def test_no_server_is_a_failed_sample_without_secrets(sampling: Make) -> None:
    one = sampling("http://127.0.0.1:9", Authorization="Bearer sk-secret-1")
    while not one.given_up:
        one.sample()
    assert one.result()["failed"] == 5
    assert "sk-secret-1" not in str(one.result())


def test_a_proxy_is_asked_for_the_whole_url(sampling: Make) -> None:
    with scripted_server(text_reply()) as proxy:
        access = Access(proxy=Proxy(url=proxy.url.replace("//", "//user:pass@"), variable="HTTP_PROXY"))
        one = sampling("http://far.example:80", access=access)
        one.sample()
        assert [asked.target for asked in proxy.asked] == ["http://far.example:80/metrics"]
        assert proxy.asked[0].headers["host"] == "far.example:80"
        assert proxy.asked[0].headers["proxy-authorization"].startswith("Basic ")
    assert len(one.result()["at_ns"]) == 1


def test_samples_are_bounded_by_halving(monkeypatch: pytest.MonkeyPatch, sampling: Make) -> None:
    monkeypatch.setattr(metrics_sampler, "MOST_SAMPLES", 8)
    with scripted_server(text_reply()) as server:
        one = sampling(server.url)
        pauses = [one.sample() for _ in range(20)]
    assert len(one.result()["at_ns"]) < 8
    assert pauses[-1] > pauses[0]


def test_a_slow_endpoint_is_given_a_rest(sampling: Make) -> None:
    def slow(asked: Asked) -> Reply:
        time.sleep(0.1)
        return text_reply()(asked)

    with scripted_server(slow) as server:
        assert sampling(server.url).sample() >= 1.0


def test_the_child_samples_until_it_is_stopped_and_its_times_are_the_windows() -> None:
    with scripted_server(text_reply()) as server:
        begun = time.monotonic_ns()
        spec = WorkerSpec(url=server.url, model="m", concurrency=1, headers={"Authorization": "Bearer sk-2"})
        sampler = Sampler(spec, MetricsAsk(("/metrics",), NAMES, interval_s=0.05))
        while len(server.asked) < 3:
            time.sleep(0.01)
        reported = line_of(sampler.stop(), begun)
        ended = time.monotonic_ns()
    assert reported["kind"] == "server_metrics"
    assert len(reported["at_ns"]) >= 4  # the last one is taken after the stop
    assert all(0 < at <= ended - begun for at in reported["at_ns"])
    assert set(reported["series"]) == {"vllm:num_requests_running"}


def test_a_sampler_ends_with_whoever_started_it() -> None:
    with scripted_server(text_reply()) as server:
        read, write = os.pipe()
        child = subprocess.Popen([sys.executable, "-m", SAMPLER], stdin=subprocess.PIPE, stdout=write)
        os.close(write)
        os.close(read)
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(10) != 0  # no spec at all
        assert server.asked == []


def test_importing_it_loads_nothing_heavy() -> None:
    heavy = ("pydantic", "numpy", "httpx", "arro3", "uvloop")
    code = f"import sys, {SAMPLER}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
