"""The server over HTTP, as a separate process."""

import json
import re
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

import autotuner
from autotuner.benchmarks.loadgen.metrics.prometheus_text import read_samples, split_series
from autotuner.engines.simulated import Simulated, SimulatedSettings
from autotuner.plugins.server_metrics import Figure
from autotuner.predict.gpus import gpu_named
from autotuner.predict.models import MODELS
from autotuner.predict.roofline import Replica, decode
from autotuner.simulator.options import FLAVORS
from autotuner.study.failure import FailureCause
from autotuner.tuning.trials.server_change import change_server

CHAT = {"model": "Llama-3.1-8B", "messages": [{"role": "user", "content": "one two three"}], "max_tokens": 5}
TEXT = {"model": "Llama-3.1-8B", "prompt": "one two three four", "max_tokens": 5, "ignore_eos": True}


def events(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    lines = [line for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    for line in lines[:-1]:
        yield json.loads(line.removeprefix("data: "))


def metric(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
    assert found, name
    return float(found[1])


@pytest.mark.parametrize("flavor", FLAVORS)
def test_complete_and_streamed_responses(start: Any, flavor: str) -> None:
    server = start(flavor)
    whole = server.post("/v1/chat/completions", CHAT).json()
    assert whole["usage"]["completion_tokens"] == len(whole["choices"][0]["message"]["content"].split()) == 5
    assert whole["choices"][0]["finish_reason"] == "length"
    chunks = list(
        events(server.post("/v1/chat/completions", {**CHAT, "stream": True, "stream_options": {"include_usage": True}}))
    )
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}, "the role is not a token"
    words = [c["choices"][0]["delta"]["content"] for c in chunks[1:-2]]
    assert "".join(words) == whole["choices"][0]["message"]["content"], "the same prompt gets the same answer"
    assert len(words) == 5, "one chunk per token"
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["prompt_tokens"] == whole["usage"]["prompt_tokens"]
    text = list(events(server.post("/v1/completions", {**TEXT, "stream": True})))
    assert [len(c["choices"][0]["text"].split()) for c in text] == [1, 1, 1, 1, 1, 0]
    assert all("usage" not in c for c in text), "usage only on request"
    free = server.post("/v1/chat/completions", {k: v for k, v in CHAT.items() if k != "max_tokens"}).json()
    assert free["choices"][0]["finish_reason"] == "stop"
    assert 64 <= free["usage"]["completion_tokens"] <= 320
    assert server.stop() == 0


def test_prompts_are_counted_by_words(start: Any) -> None:
    server = start()
    counts = [
        server.post("/v1/completions", {**TEXT, "prompt": prompt}).json()["usage"]["prompt_tokens"]
        for prompt in ("one", "one two three", [1, 2, 3, 4], ["one two"])
    ]
    assert counts == [1, 3, 4, 2]


def test_information_endpoints_and_log_of_sglang(start: Any) -> None:
    server = start("sglang", "--gpu", "H200", flags=("--served-model-name", "mine", "--attention-backend", "fa3"))
    info = server.get("/get_server_info").json()
    assert info["simulated"] is True
    assert info == {**server.get("/server_info").json(), "internal_states": info["internal_states"]}
    assert info["simulation"]["gpu"] == "H200"
    assert info["max_total_num_tokens"] > 800_000
    assert server.get("/get_model_info").json()["model_path"] == "Llama-3.1-8B"
    assert server.get("/v1/models").json()["data"][0]["id"] == "mine"
    made = server.post("/generate", {"text": "a b", "sampling_params": {"max_new_tokens": 3}}).json()
    assert made["meta_info"]["completion_tokens"] == len(made["text"].split()) == 3
    parts = list(events(server.post("/generate", {"text": "a", "sampling_params": {"max_new_tokens": 3}, "stream": 1})))
    assert [p["meta_info"]["completion_tokens"] for p in parts] == [1, 2, 3], "text grows in SGLang's own stream"
    assert parts[-1]["text"].startswith(parts[0]["text"])
    metrics = server.get("/metrics").text
    assert metric(metrics, "autotuner_simulated") == 1
    assert metric(metrics, "sglang:generation_tokens_total") == 6
    assert server.get("/health_generate").status_code == 200
    again = {"text": "a b", "sampling_params": {"max_new_tokens": 1}}
    assert server.post("/generate", again).json()["meta_info"]["cached_tokens"] == 1
    assert server.get("/flush_cache").status_code == 200
    assert server.post("/generate", again).json()["meta_info"]["cached_tokens"] == 0
    log = server.log.read_text()
    assert log.splitlines()[0].count("SIMULATED sglang") == 1
    for line in (
        "server_args=ServerArgs(model_path='Llama-3.1-8B'",
        "Load weight end. ",
        "KV Cache is allocated. dtype: ",
        "max_total_num_tokens=",
        "Capture decode CUDA graph end. ",
        "The server is fired up and ready to roll!",
        "Prefill batch, #new-seq: 1, ",
        "--attention-backend is accepted and has no effect",
    ):
        assert line in log
    resolved = Simulated(SimulatedSettings()).resolved(info, metrics, log)
    assert resolved["simulated"] is True
    assert resolved["max-total-num-tokens"] == info["max_total_num_tokens"]


def test_information_endpoints_and_log_of_vllm(start: Any) -> None:
    server = start("vllm", flags=("--served-model-name", "mine"))
    assert server.get("/version").json()["version"] == "0.32.0"
    assert server.get("/get_server_info").status_code == 404
    assert server.get("/generate").status_code == 404
    assert server.post("/v1/completions", {**TEXT, "model": "mine"}).status_code == 200
    metrics = server.get("/metrics").text
    log = server.log.read_text()
    assert metric(metrics, "vllm:generation_tokens_total") == 5
    for line in (
        "non-default args: {'model_tag': 'Llama-3.1-8B'",
        "Model loading took 14.9",
        "Available KV cache memory: ",
        "GPU KV cache size: ",
        "Maximum concurrency for 131,072 tokens per request: ",
        "Application startup complete.",
    ):
        assert line in log
    resolved = Simulated(SimulatedSettings(flavor="vllm")).resolved({}, metrics, log)
    assert resolved["simulated"] is True
    assert resolved["kv-cache-tokens"] == int(resolved["num-gpu-blocks"]) * int(resolved["block-size"])


@pytest.mark.parametrize("flavor", FLAVORS)
def test_bad_requests_are_refused_in_the_engines_form(start: Any, flavor: str) -> None:
    limit = "--context-length" if flavor == "sglang" else "--max-model-len"
    server = start(flavor, flags=(limit, "100"))
    long = " ".join(["word"] * 100)
    cases: list[tuple[Any, str]] = [
        ({**TEXT, "prompt": long}, "context length"),
        ({**TEXT, "max_tokens": 200}, "context length"),
        ({**TEXT, "max_tokens": 0}, "max_tokens must be at least 1"),
        ({**TEXT, "prompt": None}, "prompt"),
        ({**TEXT, "n": 2}, "n=1"),
        ([], "JSON object"),
    ]
    for body, part in cases:
        answer = server.post("/v1/completions", body)
        assert answer.status_code == 400, body
        error = answer.json() if flavor == "sglang" else answer.json()["error"]
        assert part in error["message"]
        assert error["code"] == 400
    assert server.post("/v1/chat/completions", {**CHAT, "messages": []}).status_code == 400
    assert httpx.post(server.url + "/v1/completions", content=b"{nonsense", trust_env=False).status_code == 400
    other = server.post("/v1/completions", {**TEXT, "model": "other"})
    assert other.status_code == (200 if flavor == "sglang" else 404)
    assert server.get("/v1/completions").status_code == 405
    assert server.get("/nothing").status_code == 404
    assert server.post("/v1/completions", TEXT).status_code == 200, "and it still answers"


def test_an_api_key_is_required_and_not_logged(start: Any) -> None:
    server = start("vllm", flags=("--api-key", "s3cret"))
    assert server.post("/v1/completions", TEXT).status_code == 401
    assert server.post("/v1/completions", TEXT, authorization="Bearer s3cret").status_code == 200
    assert "s3cret" not in server.log.read_text()


def test_requests_of_a_disconnected_client_are_aborted(start: Any) -> None:
    server = start("vllm")
    body = {**TEXT, "max_tokens": 100_000, "stream": True}
    with httpx.stream("POST", server.url + "/v1/completions", json=body, trust_env=False) as answer:
        parts = answer.iter_bytes()
        next(parts)
        assert metric(server.get("/metrics").text, "vllm:num_requests_running") == 1
    for _ in range(100):
        if metric(server.get("/metrics").text, "vllm:num_requests_running") == 0:
            break
        time.sleep(0.05)
    assert metric(server.get("/metrics").text, "vllm:kv_cache_usage_perc") == 0
    assert metric(server.get("/metrics").text, "vllm:generation_tokens_total") < 100_000


def test_pipelined_requests_are_answered_in_order_and_garbage_closes_the_connection(start: Any) -> None:
    server = start()
    host, port = server.url.removeprefix("http://").split(":")

    def post(words: str) -> bytes:
        body = json.dumps({**TEXT, "prompt": words}).encode()
        return b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    with socket.create_connection((host, int(port))) as client:
        client.sendall(post("a") + post("a b") + b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
        received = b""
        while part := client.recv(65536):
            received += part
    assert re.findall(rb'"prompt_tokens":(\d+)', received) == [b"1", b"2"]
    assert received.count(b"HTTP/1.1 200 OK") == 3
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        received = b""
        while part := client.recv(65536):
            received += part
        assert received.startswith(b"HTTP/1.1 400")


def test_start_s_delays_readiness(start: Any) -> None:
    began = time.monotonic()
    server = start("sglang", "--start-s", "0.7")
    assert time.monotonic() - began >= 0.7
    assert server.stop() == 0


def test_running_out_of_memory_under_load_ends_the_server(start: Any) -> None:
    server = start("sglang", flags=("--mem-fraction-static", "0.98"))
    assert server.post("/v1/completions", TEXT).status_code == 200
    with pytest.raises(httpx.TransportError):
        server.post("/v1/completions", {**TEXT, "prompt": " ".join(f"w{i}" for i in range(4000))})
    code = server.process.wait(10)
    failure = Simulated(SimulatedSettings()).explain(code, server.log.read_text(), ready=True)
    assert failure is not None
    assert failure.cause is FailureCause.GPU_OUT_OF_MEMORY_RUNNING
    assert "lower mem-fraction-static" in failure.remedy


@pytest.mark.parametrize("flavor", FLAVORS)
def test_our_load_generator_sees_the_simulated_hardware(start: Any, flavor: str) -> None:
    server = start(flavor, "--speed", "0.5")
    workload = {"scenarios": "D(100,24)", "concurrency": [1, 32], "warmup": "200ms", "duration": "1s"}
    alone, many = autotuner.bench(server.url, workload=workload).measurements
    for measured in (alone, many):
        assert measured.failed == 0
        assert measured.requests > 0
        assert measured.token_source == "usage"
    replica = Replica(model=MODELS["Llama-3.1-8B"], gpu=gpu_named("H100"))
    tpot = alone.distributions["tpot"]
    assert tpot.p50 >= 0.95 * replica.step_s(decode(1, 100)) / 0.5, "never faster than simulated"
    throughput = [m.value("output_throughput", None) or 0.0 for m in (alone, many)]
    assert throughput[1] > 4 * throughput[0]


def test_replicas_share_the_load(start: Any) -> None:
    server = start("sglang", "--gpu-count", "2", flags=("--dp-size", "2"))
    for _ in range(4):
        server.post("/v1/completions", TEXT)
    metrics = server.get("/metrics").text
    assert metric(metrics, "sglang:num_requests_total") == 4
    assert metric(metrics, "sglang:cached_tokens_total") == 2 * 3, "each replica has a cache of its own"
    ranks = [split_series(s)[1]["dp_rank"] for s in read_samples(metrics, ["sglang:num_running_reqs"]).values]
    assert ranks == ["0", "1"]


@pytest.mark.parametrize("flavor", FLAVORS)
def test_its_metrics_are_read_by_the_table_of_the_engine(start: Any, flavor: Any) -> None:
    server = start(flavor)
    for _ in range(2):
        assert server.post("/v1/completions", TEXT).status_code == 200
    source = Simulated(SimulatedSettings(flavor=flavor)).server_metrics
    assert source is not None
    seen = {split_series(s)[0] for s in read_samples(server.get("/metrics").text, source.all_names).values}
    for figure in (
        "running",
        "waiting",
        "kv_usage",
        "preemptions",
        "prompt_tokens",
        "cached_tokens",
        "generated_tokens",
    ):
        assert source.names[Figure(figure)][0] in seen, figure


@pytest.mark.parametrize("flavor", FLAVORS)
def test_embeddings_and_rankings(start: Any, flavor: str) -> None:
    server = start(flavor)
    found = server.post("/v1/embeddings", {"model": "m", "input": ["one two three", "four"]}).json()
    assert [item["index"] for item in found["data"]] == [0, 1]
    assert all(item["embedding"] for item in found["data"])
    assert found["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    ranked = server.post("/v1/rerank", {"model": "m", "query": "a b", "documents": ["c", "d e"]}).json()
    if flavor == "sglang":
        assert [item["meta_info"]["prompt_tokens"] for item in ranked] == [3, 4]
    else:
        assert (len(ranked["results"]), ranked["usage"]["prompt_tokens"]) == (2, 7)
    for path, body in (
        ("/v1/embeddings", {"input": []}),
        ("/v1/embeddings", {}),
        ("/v1/rerank", {"query": "a"}),
        ("/v1/rerank", {"query": "a", "documents": [1]}),
        ("/v1/embeddings", {"input": "word " * 200_000}),
    ):
        assert server.post(path, body).status_code == 400, (path, body)


@pytest.mark.anyio
async def test_size_of_micro_batches_changes_at_run_time(start: Any) -> None:
    server = start("sglang", "--gpu-count", "4", flags=("--pp-size", "2", "--dp-size", "2"))
    engine = Simulated(SimulatedSettings(gpu_count=4))
    endpoint = cast("Any", SimpleNamespace(url=server.url, info_url="", headers={}))
    states = server.get("/get_server_info").json()["internal_states"]
    assert len(states) == 2
    assert await change_server(endpoint, engine, {"pp-max-micro-batch-size": 3}) == ""
    states = server.get("/get_server_info").json()["internal_states"]
    assert [state["pp_max_micro_batch_size"] for state in states] == [3, 3]
    why = await change_server(endpoint, engine, {"pp-max-micro-batch-size": 1_000_000})
    assert why == "pp-max-micro-batch-size is 3 instead of 1000000"
    refused = {"server_args": {"mem_fraction_static": 0.5}}
    assert server.post("/set_internal_state", refused).json() == [False, False]


@pytest.mark.anyio
async def test_change_of_a_server_that_does_not_tell(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start("vllm")
    endpoint = cast("Any", SimpleNamespace(url=server.url, info_url="", headers={}))
    engine = Simulated(SimulatedSettings())
    monkeypatch.setattr("autotuner.tuning.trials.server_change._PATIENCE_S", 0.0)
    assert await change_server(endpoint, engine, {"pp-max-micro-batch-size": 3}) == "/flush_cache answered 404"
    assert await change_server(endpoint, cast("Any", Unasked()), {"x": 3}) == (
        "/get_server_info does not tell the values that it runs with"
    )


class Unasked:
    """An engine that changes nothing and reads nothing."""

    info_path = "/get_server_info"

    def change(self, _: object) -> tuple[()]:
        return ()

    def running_values(self, _: object) -> tuple[()]:
        return ()
