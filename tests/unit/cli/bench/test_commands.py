"""``autotuner bench`` with the real load generator, against servers that misbehave."""

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from time import sleep
from typing import Any

import pytest

from autotuner.testing.scripted_http import Asked, Reply, ScriptedServer, json_reply, openai, scripted_server

CERTIFICATE = Path(__file__).parents[3] / "support" / "certificates" / "server.pem"
QUICK = ("-s", "D(4,2)", "-d", "0.3s", "--warmup", "0s")

Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as made:
        yield made


def posts(reply: Callable[[Asked], Reply] | Reply) -> Callable[[Asked], Reply]:
    """A server with a valid list of models that answers all other requests this way."""

    def answer(asked: Asked) -> Reply:
        if asked.method == "GET":
            return openai(asked)
        return reply if isinstance(reply, Reply) else reply(asked)

    return answer


# Answers of the server


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (
            json_reply({"error": {"message": "unknown \x1b[31mtop_q"}}, 400),
            "http_400",
            "unknown \\x1b[31mtop_q",
        ),
        (json_reply({"detail": "no key"}, 401), "http_401", "--api-key-env"),
        (Reply(429, b"slow down", {"Retry-After": "20"}), "http_429", "Retry-After: 20"),
        (Reply(307, b"", {"Location": "https://new.example/"}), "http_307", "https://new.example/"),
        (
            Reply(500, gzip.compress(b'{"error": "out of blocks"}'), {"Content-Encoding": "gzip"}),
            "http_500",
            "out of blocks",
        ),
        (json_reply({"error": {"message": "overloaded"}}), "error_in_200", "overloaded"),
        (json_reply({"choices": [{"message": {"content": "a b"}}]}), "not_streaming", "stream: true"),
        (Reply(200, b"<html><title>Open WebUI</title>", {"Content-Type": "text/html"}), "html", "Open WebUI"),
        (Reply(200, b"hello"), "no_stream", "hello"),
        (Reply(200, gzip.compress(b"data: [DONE]\n\n"), {"Content-Encoding": "gzip"}), "compressed", "gzip"),
        (Reply(200, b'data: {"error": {"message": "out of blocks"}}\n\n'), "stream_error", "out of blocks"),
    ],
)
def test_answers_that_are_not_a_stream(call: Call, reply: Reply, kind: str, words: str) -> None:
    with scripted_server(posts(reply)) as server:
        done = call("bench", server.url, *QUICK)
    assert done.code == 1
    assert f" x {kind}" in done.out
    assert words in done.out
    assert "\x1b" not in done.out


def test_echoed_api_key_is_hidden(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MY_KEY", "sk-s3cret-0123456789")
    refuse = posts(lambda asked: json_reply({"error": f"wrong: {asked.headers['authorization']} {'x' * 260}"}, 401))
    with scripted_server(refuse) as server:
        done = call("bench", server.url, *QUICK, "--api-key-env", "MY_KEY", "--json", "-o", str(tmp_path / "records"))
    assert "wrong" in done.out
    leaks = [done.out, done.err, *(p.read_bytes().decode("latin-1") for p in (tmp_path / "records").iterdir())]
    assert not any("s3cret" in text for text in leaks)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (json_reply({"error": {"message": "no key"}}, 401), ("401", "no key", "--api-key-env")),
        (json_reply({"detail": "Not Found"}, 404), ("404", "Not Found", "--model")),
        (Reply(200, b"<html><title>Open WebUI</title>", {"Content-Type": "text/html"}), ("HTML", "Open WebUI")),
        (Reply(302, b"", {"Location": "https://login.example/"}), ("302", "login.example")),
        (json_reply({"data": []}), ("no model", "--model")),
        (json_reply({"error": "asleep"}), ("asleep",)),
    ],
)
def test_errors_of_the_model_list(call: Call, reply: Reply, words: tuple[str, ...]) -> None:
    with scripted_server(lambda _: reply) as server:
        done = call("bench", server.url, *QUICK)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert all(word in done.err for word in words), done.err


def test_connection_refused(call: Call) -> None:
    done = call("bench", "http://127.0.0.1:9", *QUICK)
    assert done.code == 2
    assert "connection refused" in done.err


# Connection


def test_certificate_options(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_server(certificate=CERTIFICATE) as server:
        refused = call("bench", server.url, *QUICK)
        assert "self-signed" in refused.err
        assert "--ca-file" in refused.err
        assert "--insecure" in refused.err
        failed = call("bench", server.url, *QUICK, "--model", "m", "--json")
        assert set(failed.data["measurements"][0]["errors"]) == {"tls"}
        for options in (("--ca-file", str(CERTIFICATE)), ("--insecure",)):
            assert call("bench", server.url, *QUICK, *options).code == 0
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        assert call("bench", server.url, *QUICK).code == 0


def test_headers_query_and_base_path_are_in_every_request(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_KEY", "hunter2-hunter2")
    with scripted_server() as server:
        url = f"{server.url}/team?api-version=2024&api-key=${{TEAM_KEY}}"
        done = call("bench", url, *QUICK, "-H", "api-key: ${TEAM_KEY}", "--header", "X-Team: a", "--json")
        assert done.code == 0
        query = "?api-version=2024&api-key=hunter2-hunter2"
        assert {a.target for a in server.asked} == {
            f"/team/v1/models{query}",
            f"/team/v1/chat/completions{query}",
        }
        assert {(a.headers["api-key"], a.headers["x-team"]) for a in server.asked} == {("hunter2-hunter2", "a")}
    assert "hunter2" not in done.out + done.err


def test_credentials_in_the_url(call: Call, server: ScriptedServer) -> None:
    done = call("bench", server.url.replace("://", "://user:hunter2@"), *QUICK, "--json")
    assert done.code == 0
    assert {a.headers["authorization"] for a in server.asked} == {"Basic dXNlcjpodW50ZXIy"}
    assert "hunter2" not in done.out


def test_ipv6(call: Call) -> None:
    with scripted_server(host="::1") as server:
        assert call("bench", server.url, *QUICK).code == 0


def test_full_endpoint_url(call: Call, server: ScriptedServer) -> None:
    url = f"{server.url}/openai/deployments/d/chat/completions?api-version=1"
    assert call("bench", url, *QUICK, "--model", "m").code == 0
    assert {a.target for a in server.asked} == {"/openai/deployments/d/chat/completions?api-version=1"}


@pytest.mark.parametrize("secure", [False, True])
def test_through_a_proxy(call: Call, monkeypatch: pytest.MonkeyPatch, secure: bool) -> None:
    """Loopback is never proxied, so the server is known to the proxy only by a name that does not resolve here."""
    monkeypatch.setenv("NO_PROXY", "")
    with scripted_server(certificate=CERTIFICATE if secure else None) as server, scripted_server() as proxy:
        host = "server.invalid"
        monkeypatch.setitem(proxy.tunnels, host, "127.0.0.1")
        scheme = "https" if secure else "http"
        monkeypatch.setenv("HTTPS_PROXY" if secure else "HTTP_PROXY", proxy.url.replace("://", "://user:hunter2@"))
        url = f"{scheme}://{host}:{server.server_port}"
        done = call("bench", url, *QUICK, "--json", "--insecure")
        assert done.code == 0, done
        posted = [a for a in proxy.asked if a.method in {"POST", "CONNECT"}]
        assert posted
        assert all(a.headers["proxy-authorization"] == "Basic dXNlcjpodW50ZXIy" for a in posted)
        if not secure:
            assert posted[0].target == f"{url}/v1/chat/completions"
        else:
            assert all("proxy-authorization" not in a.headers for a in server.asked)
            assert any(a.method == "POST" for a in server.asked)
    (measured,) = done.data["measurements"]
    assert any("PROXY" in warning for warning in measured["warnings"])
    assert "hunter2" not in done.out + done.err


def test_unsupported_proxy(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "https://proxy.invalid:3128")
    done = call("bench", "http://server.invalid", *QUICK, "--model", "m")
    assert done.code != 0
    assert "HTTP_PROXY" in done.err
    assert "NO_PROXY" in done.err


# Requests


def test_request_body_options(call: Call, server: ScriptedServer) -> None:
    options = ("--no-ignore-eos", "--max-tokens-field", "max_completion_tokens", "--extra-body", '{"temperature": 0}')
    assert call("bench", server.url, *QUICK, *options).code == 0
    for asked in server.asked:
        if asked.method == "POST":
            assert "ignore_eos" not in asked.json
            assert "max_tokens" not in asked.json
            assert asked.json["max_completion_tokens"] >= 1
            assert asked.json["temperature"] == 0
    assert call("bench", server.url, *QUICK).code == 0
    assert server.asked[-1].json["ignore_eos"] is True


def test_server_metrics_are_sampled_on_request(call: Call) -> None:
    metrics = b'vllm:num_requests_running{engine="0"} 4\nvllm:num_requests_waiting{engine="0"} 9\n'

    sampled = Event()

    def reply(asked: Asked) -> Reply:
        if asked.target == "/metrics":
            sampled.set()
            return Reply(200, metrics)
        if asked.method == "POST":
            sampled.wait(30)  # on a busy machine the sampler may start later than so short a window ends
        return openai(asked)

    with scripted_server(reply) as server:
        done = call("bench", server.url, *QUICK, "-H", "X-Team: a", "--server-metrics", "--json")
        asked = [a for a in server.asked if a.target == "/metrics"]
    assert done.code == 0
    (measured,) = json.loads(done.out)["measurements"]
    assert measured["server"]["engine"] == "vllm"
    assert measured["server"]["waiting"] == {"mean": 9.0, "min": 9.0, "max": 9.0}
    assert measured["server"]["file"] is None
    assert {a.headers["x-team"] for a in asked} == {"a"}


@pytest.mark.parametrize(
    "wrong",
    [
        ("--extra-body", "{nonsense"), ("--extra-body", "[1]"), ("--header", "X"), ("--header", "Host: x"),
        ("--header", "X: ${NOT_THERE}"), ("--slo", "p99 ttft"), ("--insecure", "--ca-file", "x"),
        ("--ca-file", "/nowhere"), ("--max-tokens-field", "a b"),
    ],
)  # fmt: skip
def test_invalid_options(call: Call, wrong: tuple[str, ...]) -> None:
    done = call("bench", "https://127.0.0.1:9", *QUICK, *wrong)
    assert done.code == 2
    assert done.err.count("\n") == 1, done.err


@pytest.mark.parametrize("command", ["bench", "capacity"])
def test_a_file_with_other_content_is_a_wrong_input_and_a_missing_one_a_fault_of_the_machine(
    call: Call, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "requests.jsonl"
    words = (command, "http://127.0.0.1:9", "-s", f"dataset:{file}", "--slo", "p99 ttft <= 1s")
    missing = call(*words)
    assert (missing.code, "no such file" in missing.err) == (4, True)
    file.write_text('{"timestamp": 0, "input_length": 100, "output_length": 20, "hash_ids": [1]}\n')
    done = call(*words)
    assert done.code == 2
    assert done.err == (
        f"autotuner: {file}:1: this is a trace of arrival times and lengths, not a dataset; replay it with trace:FILE\n"
    )
    assert list(tmp_path.iterdir()) == [file], "what measured nothing leaves nothing"


def test_slos(call: Call, server: ScriptedServer) -> None:
    met = call("bench", server.url, *QUICK, "-c", "1", "-c", "2", "--slo", "p50 ttft <= 60s", "--json")
    assert met.code == 0
    assert [(s["level"], s["met"]) for s in met.data["slos"]] == [("concurrency=1", True), ("concurrency=2", True)]
    missed = call("bench", server.url, *QUICK, "--slo", "p50 ttft <= 60s", "--slo", "p50 ttft <= 0.000001s")
    assert missed.code == 3
    assert "missed" in missed.out


def test_slo_without_a_value_is_missed(call: Call) -> None:
    with scripted_server(posts(json_reply({"error": "no"}, 500))) as server:
        done = call("bench", server.url, *QUICK, "--slo", "p50 ttft <= 60s", "--json")
    assert done.data["slos"][0]["value"] is None
    assert done.data["slos"][0]["met"] is False


# Interruption


def test_answers_longer_than_the_window(call: Call) -> None:
    chunk = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'

    def slow() -> Iterator[bytes]:
        for _ in range(200):
            yield chunk
            sleep(0.05)

    def answer(asked: Asked) -> Reply:
        return openai(asked) if asked.json["max_tokens"] == 1 else Reply(200, slow())

    with scripted_server(posts(answer)) as server:
        done = call("bench", server.url, "-s", "D(4,200)", "-d", "0.5s", "--warmup", "0s")
    assert "no request ended within" in done.out
    assert "an answer takes about" in done.out
    assert "--duration" in done.out


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("number", "as_json"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_interrupt_prints_finished_levels(tmp_path: Path, server: ScriptedServer, number: int, as_json: bool) -> None:
    argv = [sys.executable, "-m", "autotuner", "bench", server.url, "-s", "D(4,2)", "-d", "1s", "--warmup", "0s"]
    argv += ["-c", "1", "-c", "2", "-c", "3", "-o", str(tmp_path), *(["--json"] if as_json else [])]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        # A level whose window was disturbed is measured again; it has ended when the next one has records.
        while not (tmp_path / "records-0-1.parquet").exists() and started.poll() is None:
            sleep(0.01)
        os.kill(started.pid, number)
        out, err = started.communicate(timeout=60)
    assert started.returncode == 130, err
    assert "interrupted" in err
    if as_json:
        found = json.loads(out)
        assert [m["level"]["in_flight"] for m in found["measurements"]] in ([1], [1, 2])
        assert found["error"]["kind"] == "interrupted"
    else:
        assert "concurrency=1" in out
        assert "concurrency=3" not in out
