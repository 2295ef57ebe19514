"""``autotuner capacity`` and ``autotuner verify``, with the real load generator."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from time import sleep
from typing import Any

import pytest

import autotuner
from autotuner import CapacityStoppedError
from autotuner.benchmarks.measuring.server_samples import read_samples_file
from autotuner.cli.exit_codes import ExitCode
from autotuner.testing.scripted_http import STREAM, Asked, Reply, json_reply, openai, scripted_server

Call = Callable[..., Any]
QUICK = ("-s", "D(4,2)", "--warmup", "0.1s", "--max-requests", "150", "--start", "60", "--slo", "p50 ttft <= 20s")

QUICK_IN_FLIGHT = ("--unit", "concurrency", "--warmup", "0.1s", "--max-requests", "150", "--slo", "p50 ttft <= 20s")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_a_certificate_with_server_metrics(call: Call, tmp_path: Path) -> None:
    metrics = b'vllm:num_requests_running{engine="0"} 4\nvllm:num_requests_waiting{engine="0"} 9\n'
    sampled = Event()

    def reply(asked: Asked) -> Reply:
        if asked.target == "/metrics":
            sampled.set()
            return Reply(200, metrics)
        if asked.method == "POST":
            sampled.wait(30)  # the sampler starts later than a short level ends, on a busy machine
        return openai(asked)

    folder = tmp_path / "capacity"
    stale = folder / "level-0-7.parquet"
    folder.mkdir()
    stale.touch()
    with scripted_server(reply) as server:
        done = call("capacity", server.url, *QUICK, "--out", str(folder), "--server-metrics", "--json")
    level = done.data["results"][0]["levels"][0]
    seen = level["measurement"]["server"]
    assert (seen["engine"], seen["waiting"]["max"]) == ("vllm", 9.0)
    assert read_samples_file(folder / seen["file"]).series
    assert not stale.exists()
    checked = call("verify", str(folder), "--json")
    assert (checked.code, checked.data["holds"]) == (0, True)
    check_that_a_change_is_an_error(call, folder)


def test_a_server_that_rejects_ignore_eos(call: Call, tmp_path: Path) -> None:
    refused = {"ignore_eos", "max_tokens"}

    def reply(asked: Asked) -> Reply:
        if asked.method == "POST" and (found := refused & asked.json.keys()):
            return json_reply({"error": {"message": f"unknown field {min(found)}"}}, 400)
        return openai(asked)

    options = ("--no-ignore-eos", "--max-tokens-field", "max_completion_tokens", "--extra-body", '{"temperature": 0}')
    folder = tmp_path / "capacity"
    with scripted_server(reply) as server:
        done = call("capacity", server.url, *QUICK_IN_FLIGHT, *options, "--out", str(folder), "--json")
        bodies = [asked.json for asked in server.asked if asked.method == "POST"]
    assert bodies
    assert {(body["max_completion_tokens"] >= 1, body["temperature"]) for body in bodies} == {(True, 0)}
    assert {level["measurement"]["failed"] for level in done.data["results"][0]["levels"]} == {0}
    checked = call("verify", str(folder), "--json")
    assert (checked.code, checked.data["holds"]) == (0, True)


def test_prompts_as_token_ids_that_are_reused(call: Call, tmp_path: Path) -> None:
    sent: list[set[tuple[int, ...]]] = []
    for number, options in enumerate(((), ("--reuse-prompts",), ("--reuse-prompts",))):
        folder = tmp_path / f"capacity-{number}"
        asked_for = (*QUICK_IN_FLIGHT, "-s", "D(32,2)", "--api", "completions", "--token-ids", *options)
        with scripted_server(openai) as server:
            call("capacity", server.url, *asked_for, "--out", str(folder))
            bodies = [asked.json for asked in server.asked if asked.method == "POST"]
        assert all(isinstance(token, int) for body in bodies for token in body["prompt"])
        sent.append({tuple(body["prompt"]) for body in bodies if len(body["prompt"]) == 32})
        assert call("verify", str(folder)).code == 0
    fresh, first, second = sent
    assert first & second
    assert not fresh & first


def test_an_extra_body_that_is_not_an_object(call: Call) -> None:
    done = call("capacity", "http://127.0.0.1:9", *QUICK, "--extra-body", "[1]")
    assert done.code == 2
    assert "--extra-body" in done.err
    assert len(done.err.splitlines()) == 1


def check_that_a_change_is_an_error(call: Call, folder: Path) -> None:
    path = folder / "capacity.json"
    report = json.loads(path.read_text())
    report["results"][0]["levels"][0]["plan"]["bounds"][0]["limit"] = 30.0
    path.write_text(json.dumps(report))
    done = call("verify", str(folder))
    assert done.code == 1
    assert "does not hold" in done.out


@pytest.mark.parametrize(
    ("lines", "options", "named"),
    [
        (['{"timestamp": 0, "input_tokens": 1, "output_tokens": 1}', '{"timestamp": 1}'], (), "trace.jsonl:2"),
        ([""], (), "trace.jsonl"),
        (['{"timestamp": 0, "input_tokens": 1, "output_tokens": 1}'], ("--unit", "rate"), "unit"),
        (['{"timestamp": 0, "input_tokens": 1, "output_tokens": 1}'], ("--confidence", "90%"), "confidence"),
        (['{"timestamp": 0, "input_tokens": 1, "output_tokens": 1}'] * 101, ("--max-requests", "100"), "101 requests"),
    ],
)
def test_a_trace_that_cannot_be_searched_is_one_line(
    call: Call, tmp_path: Path, lines: list[str], options: tuple[str, ...], named: str
) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text("\n".join(lines))
    done = call("capacity", "http://127.0.0.1:9", "--slo", "p50 ttft <= 1s", "-s", f"trace:{trace}", *options)
    assert done.code == 2
    assert named in done.err
    assert len(done.err.splitlines()) == 1


def test_the_capacity_of_a_trace(call: Call, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    rows = [{"timestamp": 0.02 * number, "input_tokens": 4, "output_tokens": 2} for number in range(20)]
    trace.write_text("\n".join(map(json.dumps, rows)))
    folder = tmp_path / "capacity"
    asked = ("--slo", "p50 ttft <= 20s", "-s", f"trace:{trace}", "--high", "2", "--out", str(folder))
    with scripted_server(openai) as server:
        done = call("capacity", server.url, *asked)
    assert "1x speed" in done.out
    result = json.loads((folder / "capacity.json").read_text())["results"][0]
    assert result["search"]["trace"]["requests"] == 20
    # A busy machine limits the load generator, and such a level is measured again.
    assert {level["load"] for level in result["levels"]} <= {1.0, 2.0}
    assert {(level["decision"]["state"], *level["decision"]["requests"]) for level in result["levels"]} == {
        ("certified", 20, 20)
    }
    checked = call("verify", str(folder), "--json")
    assert (checked.code, checked.data["holds"]) == (0, True)
    path = folder / result["levels"][0]["measurement"]["records"]
    path.chmod(0o600)
    with path.open("ab") as file:
        file.write(b"x")
    assert call("verify", str(folder)).code == 1


def test_a_server_that_fails_every_request_ends_the_search(call: Call, tmp_path: Path) -> None:
    def reply(asked: Asked) -> Reply:
        if asked.method == "GET":
            return openai(asked)
        return json_reply({"error": {"message": "this server has no embeddings"}}, 501)

    with scripted_server(reply) as server:
        command = ("capacity", server.url, "--api", "embeddings", "-s", "E(4)", "--slo", "p99 e2e_latency <= 1s")
        done = call(*command, "--out", str(tmp_path / "capacity"))
    assert done.code == ExitCode.ENVIRONMENT
    assert "no request succeeded (http_501" in done.err
    assert "this server has no embeddings" in done.err


def test_a_server_that_ends_in_a_level_ends_the_search(call: Call, tmp_path: Path) -> None:
    """What fails because the server has gone does not refute its load; earlier levels are kept."""
    levels = list[str]()
    asked_since = list[Asked]()
    enough = Event()

    def reply(asked: Asked) -> Reply:
        if asked.method == "GET":
            return openai(asked)
        if levels:
            asked_since.append(asked)
        if len(asked_since) == 40:
            enough.set()
        # A response in pieces closes its connection, so that every request needs a new one.
        return Reply(200, iter([STREAM]), {"Content-Type": "text/event-stream"})

    def end() -> None:
        assert enough.wait(120)
        running.close()

    folder = tmp_path / "capacity"
    with ExitStack() as running:
        server = running.enter_context(scripted_server(reply))
        ending = Thread(target=end)
        ending.start()
        with pytest.raises(CapacityStoppedError, match="no longer answers") as stopped:
            autotuner.measure_capacity(
                server.url,
                slos=["p99 ttft <= 20s"],
                folder=folder,
                workload={"scenarios": "D(4,2)", "warmup": "0.1s"},
                search={"start": 60, "max_requests": 5_000},
                on_level=lambda level, _: levels.append(level.verdict),
            )
        ending.join()
    (result,) = stopped.value.report.results
    assert [level.verdict for level in result.levels] == levels
    assert (result.interrupted, result.refuted_missing) == (True, "the search was interrupted")
    assert call("verify", str(folder), "--json").data["holds"]


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("as_json", [False, True])
def test_an_interrupted_search_says_so(tmp_path: Path, as_json: bool) -> None:
    folder = tmp_path / "capacity"
    argv = [sys.executable, "-m", "autotuner", "capacity", "", "-s", "D(4,2)", "--warmup", "0.1s", "--start", "60"]
    argv += ["--slo", "p99 ttft <= 20s", "--out", str(folder), *(["--json"] if as_json else [])]
    with scripted_server(openai) as server:
        argv[4] = server.url
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
            while not (folder / "level-0-1.parquet").exists() and started.poll() is None:
                sleep(0.01)
            os.kill(started.pid, signal.SIGTERM)
            out, err = started.communicate(timeout=60)
    assert (started.returncode, err.splitlines()[-1]) == (ExitCode.INTERRUPTED, "autotuner: interrupted"), err
    if as_json:
        found = json.loads(out)
        assert found["error"] == {"kind": "interrupted", "message": "interrupted", "remedy": "", "problems": []}
        assert found["results"][0]["interrupted"] is True
        assert found["results"][0]["refuted_missing"] == "the search was interrupted"
    else:
        assert "no load refuted above it: the search was interrupted\n" in out
        assert "budget used" not in out
