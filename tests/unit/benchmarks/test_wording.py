"""Messages of benchmarks, in one snapshot: the only place where a test fixes their wording.

After a deliberate change: ``.venv/bin/pytest tests/unit/benchmarks/test_wording.py --snapshot-update``, and read the
diff.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from autotuner.benchmarks.loadgen.http.connection import Connection
from autotuner.benchmarks.loadgen.http.request import Request, fail_unfinished
from autotuner.benchmarks.loadgen.http.tunnel import check_usable
from autotuner.benchmarks.loadgen.prompts import RequestFactory
from autotuner.benchmarks.loadgen.spec import Calibration, Lengths, WorkerSpec
from autotuner.benchmarks.measuring.datasets.datasets import read_dataset
from autotuner.benchmarks.measuring.inputs import input_checks, tokenizer_text
from autotuner.benchmarks.measuring.records import Records, read_records
from autotuner.benchmarks.measuring.summary import summarize
from autotuner.errors import UsageError
from autotuner.net.proxies import Proxy
from autotuner.study.objective import SLO
from autotuner.study.workload import Concurrency, Scenario, Workload
from support.request_records import MS, S, arrival, moved, records, required, row, spread

EVEN = [n * 9.5 / 100 for n in range(100)]
P99 = SLO(metric="ttft", statistic="p99", threshold=0.2)
OPEN = {"asked_rate": 2.0}
EVALUATED: dict[str, Callable[[], Records]] = {
    "fine": lambda: records(spread(EVEN, [0.05] * 100)),
    "few requests": lambda: required(records([moved(row(), n * S) for n in range(3)]), slos=(P99,)),
    "slower and slower": lambda: records(spread(EVEN, [0.05 + at / 20 for at in EVEN])),
    "collapsing": lambda: required(
        records([moved(row(), n * 20 * MS - S) for n in range(80)] + [moved(row(), n * S) for n in range(2, 9)])
    ),
    "overloaded": lambda: records([arrival(n / 6, n / 6, n / 6) for n in range(60)], **OPEN),
    "running at the end": lambda: records([arrival(n, 0.1, 9, ended=n < 8) for n in range(10)], **OPEN),
    "hanging in a closed loop": lambda: records(
        [*(moved(row(), n * S) for n in range(8)), row(end_ns=12 * S, complete=False, gaps_ns=[9 * S])]
    ),
    "usage contradicts": lambda: records(
        [row(token_source="chunks", usage_output=2, usage_input=0, input_tokens=None)] * 3
    ),
    "usage contradicts, with a tokenizer": lambda: records([row(token_source="tokenizer", usage_output=2)] * 3),
    "no usage": lambda: records([row(token_source="chunks", input_tokens=None)] * 3),
    "wrong lengths": lambda: records([row(input_tokens=20, output_tokens=4)] * 3),
    "reused prompts": lambda: records([row(reused=n == 0) for n in range(4)]),
    "left out": lambda: records([row()] * 3, left_out_s=2.25),
    "left out for a lag": lambda: records([row()] * 3, left_out_s=2.25, left_out_lagged=True),
    "untimed": lambda: records([row()] * 3, untimed=True, ends_only=True, notes=("a note",)),
    "slow load generator": lambda: records(
        [row(lag_ns=80 * MS)] * 20, loop_lag_p99_s=0.02, client_cpu_cores=0.95, scheduled_in_window=30, **OPEN
    ),
}


@pytest.mark.parametrize("case", EVALUATED)
def test_remarks_on_a_window(case: str, snapshot: SnapshotAssertion) -> None:
    found = summarize(EVALUATED[case]())
    assert {"warnings": found.warnings, "thin": found.thin, "self_check": found.self_check.reasons} == snapshot


def raised(call: Callable[[], object], folder: Path) -> list[str]:
    """The messages of an error, without the name of a temporary folder."""
    with pytest.raises((UsageError, ValueError)) as error:
        call()
    problems = getattr(error.value, "problems", None)
    texts = [str(error.value)] if problems is None else [str(problem) for problem in problems]
    return [stable(text.replace(str(folder), "FOLDER")) for text in texts]


def stable(text: str) -> str:
    """A message without the reason that orjson or httptools gives, because it depends on their versions."""
    return re.sub(r"(not JSON|not HTTP): .*?(?=: line |$)", r"\1: REASON", text)


DATASETS = {
    "empty": "",
    "not JSON": "{nonsense",
    "not an object": "[1]",
    "without a prompt": '{"text": "x"}',
    "length of zero": '{"prompt": "x", "max_tokens": 0}',
    "two lengths": '{"prompt": "x", "max_tokens": 4, "output_tokens": 5}',
    "ShareGPT": json.dumps([{"id": "1", "conversations": [{"from": "human", "value": "a"}]}]),
    "ShareGPT in lines": json.dumps({"conversations": [{"from": "human", "value": "a"}]}),
    "trace": json.dumps({"timestamp": 0, "input_length": 9, "output_length": 4}),
    "batch": json.dumps({"custom_id": "1", "body": {"messages": []}}),
    "gzip": "\x1f\x8b",
    "Parquet": "PAR1",
}


@pytest.mark.parametrize("case", DATASETS)
def test_refused_datasets(tmp_path: Path, case: str, snapshot: SnapshotAssertion) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(DATASETS[case], encoding="latin-1")
    assert raised(lambda: read_dataset(str(file)), tmp_path) == snapshot


def test_refused_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tokenizer.json").write_text("{}")
    Path("records.parquet").write_text("PAR1")
    calls: list[Callable[[], object]] = [
        lambda: read_dataset("missing.jsonl"),
        lambda: tokenizer_text("gpt2"),
        lambda: tokenizer_text("tokenizer.json"),
        lambda: read_records(Path("records.parquet")),
    ]
    found = [raised(call, tmp_path) for call in calls]
    monkeypatch.setattr("autotuner.benchmarks.loadgen.tokens.Tokenizer", None)
    found.append(raised(lambda: tokenizer_text("tokenizer.json"), tmp_path))
    assert found == snapshot


def test_checks_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion) -> None:
    monkeypatch.chdir(tmp_path)
    fields = {f"field_{number}": 1 for number in range(8)}
    Path("rows.jsonl").write_text(json.dumps({"prompt": "a", **fields}))
    scenarios = tuple(Scenario(text=f"dataset:{name}", dataset=name) for name in ("rows.jsonl", "missing.jsonl"))
    workload = Workload(scenarios=scenarios, levels=(Concurrency(in_flight=1),), tokenizer="gpt2")
    checks = input_checks(workload)
    assert [(check.status.value, check.name, check.detail, check.remedy) for check in checks] == snapshot


def spec(**changes: Any) -> WorkerSpec:
    lengths = Lengths("fixed", 8)
    return WorkerSpec(**{"url": "http://h:1", "model": "m", "input": lengths, "output": lengths, **changes})


def test_refusals_of_the_load_generator(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    calls: list[Callable[[], object]] = [
        lambda: WorkerSpec.from_json(b"{nonsense"),
        lambda: WorkerSpec.from_json(b"{}"),
        lambda: WorkerSpec.from_json(spec(concurrency=1, rate=1.0).to_json()),
        lambda: RequestFactory(spec(headers={"A": "b\r\nC: d"}), Calibration(), "h"),
        lambda: RequestFactory(spec(input=None), Calibration(), "h").next(),
        lambda: check_usable(Proxy(url="socks5://proxy:1", variable="all_proxy")),
    ]
    assert [raised(call, tmp_path) for call in calls] == snapshot


def test_failed_requests(snapshot: SnapshotAssertion) -> None:
    def request(*events: bytes, complete: bool = True) -> Request:
        made = Request(0, b"", 8, 8, keep_text=False)
        for event in events:
            made.event(b"", event, 1)
        made.close(complete=complete)
        return made

    content = b'{"choices": [{"delta": {"content": "x"}}]}'
    finished = b'{"choices": [{"delta": {}, "finish_reason": "stop"}]}'
    aborted = b'{"choices": [{"delta": {}, "finish_reason": "abort"}]}'
    silent = request(content, b"[DONE]")
    fail_unfinished([silent, request(content, finished)])
    failed = [
        request(b"[]"),
        request(b'{"error": {"message": "out of memory"}}'),
        request(content, complete=False),
        request(b"[DONE]"),
        request(content, aborted),
        silent,
    ]
    assert [(one.error, one.detail) for one in failed] == snapshot


def test_failed_connections(snapshot: SnapshotAssertion) -> None:
    failed: list[tuple[str | None, str]] = []

    def connection() -> Connection:
        made = Connection(lambda _, request: failed.append((request.error, stable(request.detail))), lambda _: None)
        made.request = Request(0, b"", 8, 8, keep_text=False)
        made.used = 1
        return made

    connection().connection_lost(None)
    connection().data_received(b"nonsense\r\n\r\n")
    connection().data_received(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nRetry-After: 9\r\n\r\nbusy")
    assert failed == snapshot
