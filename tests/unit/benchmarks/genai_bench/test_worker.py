"""The worker that runs genai-bench: early exits, secrets, environment and processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from autotuner.benchmarks.genai_bench.worker import GenaiSpec
from autotuner.deployers.local.local_runner import LocalRunner
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.testing.benchmark_kit import ChildRunner, UrlEndpoint, make_window
from autotuner.testing.mock_openai import mock_openai
from support.genai_bench import KEY, ONE, alive, emptied, files_of, key_stays_secret, measured, scripted

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("behavior", "message"),
    [
        (("crash=3",), r" code 3 .*: Error: cannot start with"),
        (("after=5", "code=7"), r" code 7 .* after [0-9]+ requests"),
        (("after=5",), r" code 0 .* after [0-9]+ requests"),
        (("mute=1",), r" 1 s;"),
    ],
)
async def test_early_exit_fails_the_benchmark(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behavior: tuple[str, ...], message: str
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    benchmark = scripted(tokenizer, *behavior, start_timeout=1.0, api_key_env="MY_KEY")
    with pytest.raises(TrialFailedError, match=message) as raised:
        await measured(benchmark, tmp_path, duration_s=5.0)
    failure = raised.value.failure
    assert failure.cause is FailureCause.BENCHMARK_FAILED
    assert "genai_bench." in failure.log_tail
    assert KEY not in failure.model_dump_json()


async def test_key_reaches_no_file_command_line_or_record(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = await key_stays_secret(scripted(tokenizer, api_key_env="MY_KEY"), tmp_path, monkeypatch)
    assert b"(hidden)" in output, "the server echoed the headers, so there was a key to redact"


def test_spec_repr_omits_the_key(tokenizer: Path, tmp_path: Path) -> None:
    window = make_window(tmp_path, ONE, headers={"Authorization": f"Bearer {KEY}"})
    spec = scripted(tokenizer)._spec(UrlEndpoint("http://127.0.0.1:1"), window)
    assert spec.api_key == KEY
    assert KEY not in repr(spec)
    assert GenaiSpec.from_json(spec.to_json()) == spec


def test_invalid_spec_is_one_line() -> None:
    argv = [sys.executable, "-m", "autotuner.benchmarks.genai_bench.worker"]
    done = subprocess.run(argv, input=b'{"api_key": "sk-secret", "plan"', capture_output=True, timeout=30)
    assert done.returncode == 2
    assert json.loads(done.stdout)["kind"] == "error"
    assert b"sk-secret" not in done.stdout + done.stderr


async def test_allowed_environment_and_the_end_of_all_children(
    tokenizer: Path, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    note = tmp_path / "note.json"
    async with mock_openai() as server, anyio.create_task_group() as group:
        endpoint = UrlEndpoint(server.url, client=LocalRunner())
        window = make_window(tmp_path, ONE, duration_s=60.0)
        group.start_soon(scripted(tokenizer, f"note={note}", "child=1").measure, endpoint, window)
        with anyio.fail_after(30):
            while not note.exists() or not server.log:  # noqa: ASYNC110
                await anyio.sleep(0.02)
        found = json.loads(note.read_text())
        assert [alive(pid) for pid in found["pids"]] == [True, True]
        assert os.getpgid(found["pids"][0]) == found["pids"][0]
        assert os.listdir(temporary) == [Path(found["cwd"]).name]  # noqa: PTH208
        group.cancel_scope.cancel()
    assert [alive(pid) for pid in found["pids"]] == [False, False]
    assert KEY not in json.dumps(found)
    assert "HTTP_PROXY" not in found["env"]
    assert found["env"]["AUTOTUNER_STUDY"] == "kit"
    assert found["env"]["HF_HUB_OFFLINE"] == found["env"]["TRANSFORMERS_OFFLINE"] == "1"


async def test_no_process_remains_after_a_window(tokenizer: Path, tmp_path: Path) -> None:
    note = tmp_path / "note.json"
    await measured(scripted(tokenizer, f"note={note}", "child=1"), tmp_path)
    assert [alive(pid) for pid in json.loads(note.read_text())["pids"]] == [False, False]


async def test_killed_worker_leaves_no_process_and_no_key(
    tokenizer: Path, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    note = tmp_path / "note.json"
    async with mock_openai() as server, anyio.create_task_group() as group:
        window = make_window(tmp_path, ONE, duration_s=60.0)
        benchmark = scripted(tokenizer, f"note={note}", "mute=1", api_key_env="MY_KEY")
        group.start_soon(benchmark.measure, UrlEndpoint(server.url, client=ChildRunner()), window)
        with anyio.fail_after(30):
            while not note.exists():  # noqa: ASYNC110
                await anyio.sleep(0.02)
        group.cancel_scope.cancel()
    (pid,) = json.loads(note.read_text())["pids"]
    with anyio.fail_after(10):
        while alive(pid):  # noqa: ASYNC110 - the kernel kills it
            await anyio.sleep(0.02)
    left = files_of(temporary)
    assert left
    assert not any(KEY.encode() in content for content in left.values())
    emptied(temporary)
