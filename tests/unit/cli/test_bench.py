"""``autotuner bench`` against servers that answer as they like. The load generator is the real one."""

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from autotuner.testing.scripted_http import Asked, Reply, ScriptedServer, json_reply, openai, scripted_server

CERTIFICATE = Path(__file__).parents[2] / "support" / "certificates" / "server.pem"
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
    """A server whose list of models is in order, and whose answers to load are these."""

    def answer(asked: Asked) -> Reply:
        if asked.method == "GET":
            return openai(asked)
        return reply if isinstance(reply, Reply) else reply(asked)

    return answer


# what the server says


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
def test_what_a_server_answers_instead_of_a_stream(call: Call, reply: Reply, kind: str, words: str) -> None:
    with scripted_server(posts(reply)) as server:
        said = call("bench", server.url, *QUICK)
    assert said.code == 1
    assert f" x {kind}" in said.out
    assert words in said.out
    assert "\x1b" not in said.out


def test_a_key_that_the_server_repeats_is_not_shown(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-s3cret-0123456789")
    refuse = posts(lambda asked: json_reply({"error": f"wrong: {asked.headers['authorization']} {'x' * 260}"}, 401))
    with scripted_server(refuse) as server:
        said = call("bench", server.url, *QUICK, "--api-key-env", "MY_KEY", "--json", "-o", str(tmp_path / "records"))
    assert "wrong" in said.out
    leaks = [said.out, said.err, *(p.read_bytes().decode("latin-1") for p in (tmp_path / "records").iterdir())]
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
def test_the_question_for_the_model_is_answered_in_the_same_words(
    call: Call, reply: Reply, words: tuple[str, ...]
) -> None:
    with scripted_server(lambda _: reply) as server:
        said = call("bench", server.url, *QUICK)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert all(word in said.err for word in words), said.err


def test_nobody_is_there(call: Call) -> None:
    said = call("bench", "http://127.0.0.1:9", *QUICK)
    assert said.code == 2
    assert "connection refused" in said.err


# how it is reached


def test_a_certificate_is_trusted_or_not_checked(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
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
        said = call("bench", url, *QUICK, "-H", "api-key: ${TEAM_KEY}", "--header", "X-Team: a", "--json")
        assert said.code == 0
        query = "?api-version=2024&api-key=hunter2-hunter2"
        assert {a.target for a in server.asked} == {
            f"/team/v1/models{query}",
            f"/team/v1/chat/completions{query}",
        }
        assert {(a.headers["api-key"], a.headers["x-team"]) for a in server.asked} == {("hunter2-hunter2", "a")}
    assert "hunter2" not in said.out + said.err


def test_user_and_password_in_the_address(call: Call, server: ScriptedServer) -> None:
    said = call("bench", server.url.replace("://", "://user:hunter2@"), *QUICK, "--json")
    assert said.code == 0
    assert {a.headers["authorization"] for a in server.asked} == {"Basic dXNlcjpodW50ZXIy"}
    assert "hunter2" not in said.out


def test_ipv6(call: Call) -> None:
    with scripted_server(host="::1") as server:
        assert call("bench", server.url, *QUICK).code == 0


def test_the_whole_address_of_the_endpoint(call: Call, server: ScriptedServer) -> None:
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
        said = call("bench", url, *QUICK, "--json", "--insecure")
        assert said.code == 0, said
        posted = [a for a in proxy.asked if a.method in {"POST", "CONNECT"}]
        assert posted
        assert all(a.headers["proxy-authorization"] == "Basic dXNlcjpodW50ZXIy" for a in posted)
        if not secure:
            assert posted[0].target == f"{url}/v1/chat/completions"
        else:
            assert all("proxy-authorization" not in a.headers for a in server.asked)
            assert any(a.method == "POST" for a in server.asked)
    (measured,) = said.data["measurements"]
    assert any("PROXY" in warning for warning in measured["warnings"])
    assert "hunter2" not in said.out + said.err


def test_a_proxy_that_cannot_be_used_for_load(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "https://proxy.invalid:3128")
    said = call("bench", "http://server.invalid", *QUICK, "--model", "m")
    assert said.code != 0
    assert "HTTP_PROXY" in said.err
    assert "NO_PROXY" in said.err


# what is asked


def test_what_requests_carry(call: Call, server: ScriptedServer) -> None:
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


@pytest.mark.parametrize(
    "wrong",
    [
        ("--extra-body", "{nonsense"), ("--extra-body", "[1]"), ("--header", "X"), ("--header", "Host: x"),
        ("--header", "X: ${NOT_THERE}"), ("--slo", "p99 ttft"), ("--insecure", "--ca-file", "x"),
        ("--ca-file", "/nowhere"), ("--max-tokens-field", "a b"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_used(call: Call, wrong: tuple[str, ...]) -> None:
    said = call("bench", "https://127.0.0.1:9", *QUICK, *wrong)
    assert said.code == 2
    assert said.err.count("\n") == 1, said.err


def test_slos(call: Call, server: ScriptedServer) -> None:
    met = call("bench", server.url, *QUICK, "-c", "1", "-c", "2", "--slo", "p50 ttft <= 60s", "--json")
    assert met.code == 0
    assert [(s["level"], s["met"]) for s in met.data["slos"]] == [("concurrency=1", True), ("concurrency=2", True)]
    missed = call("bench", server.url, *QUICK, "--slo", "p50 ttft <= 60s", "--slo", "p50 ttft <= 0.000001s")
    assert missed.code == 3
    assert "missed" in missed.out


def test_an_slo_that_nothing_tells_of_is_missed(call: Call) -> None:
    with scripted_server(posts(json_reply({"error": "no"}, 500))) as server:
        said = call("bench", server.url, *QUICK, "--slo", "p50 ttft <= 60s", "--json")
    assert said.data["slos"][0]["value"] is None
    assert said.data["slos"][0]["met"] is False


# what remains


def test_answers_that_are_longer_than_the_window(call: Call) -> None:
    chunk = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'

    def slow() -> Iterator[bytes]:
        for _ in range(200):
            yield chunk
            sleep(0.05)

    def answer(asked: Asked) -> Reply:
        return openai(asked) if asked.json["max_tokens"] == 1 else Reply(200, slow())

    with scripted_server(posts(answer)) as server:
        said = call("bench", server.url, "-s", "D(4,200)", "-d", "0.5s", "--warmup", "0s")
    assert "no request ended within" in said.out
    assert "an answer takes about" in said.out
    assert "--duration" in said.out


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell's background jobs start with SIGINT ignored, and so would what this test starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("number", "as_json"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_finished_levels_are_shown_when_it_is_interrupted(
    tmp_path: Path, server: ScriptedServer, number: int, as_json: bool
) -> None:
    argv = [sys.executable, "-m", "autotuner", "bench", server.url, "-s", "D(4,2)", "-d", "1s", "--warmup", "0s"]
    argv += ["-c", "1", "-c", "2", "-o", str(tmp_path), *(["--json"] if as_json else [])]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        while not (tmp_path / "records-0-0.parquet").exists() and started.poll() is None:
            sleep(0.01)
        seen = len(server.asked)
        while len(server.asked) == seen and started.poll() is None:  # the second level has begun
            sleep(0.01)
        os.kill(started.pid, number)
        out, err = started.communicate(timeout=60)
    assert started.returncode == 130, err
    assert "interrupted" in err
    if as_json:
        found = json.loads(out)
        assert [m["level"]["in_flight"] for m in found["measurements"]] == [1]
        assert found["error"]["kind"] == "interrupted"
    else:
        assert "concurrency=1" in out
        assert "concurrency=2" not in out
