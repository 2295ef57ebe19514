"""Wrapper around a load generator in a pod: its frames, and their reassembly when some are lost or repeated."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autotuner.deployers.kubernetes.load import worker as load_worker
from autotuner.deployers.kubernetes.load.job import _Frames
from autotuner.study.failure import FailureCause, TrialFailedError

WORKER = "autotuner.testing.fake_worker"


def pod_log(folder: Path, *, again: int = 0, size: int = 10_000, **order: Any) -> list[bytes]:
    """Returns the pod's log: the frames that the wrapper writes, repeated ``again`` times."""
    for number, part in enumerate(load_worker.pack(json.dumps(order).encode(), size)):
        (folder / f"{number:03d}").write_bytes(part)
    code = (
        "import sys; from autotuner.deployers.kubernetes.load import worker as w;"
        "w._REPEAT_AFTER_S = (0.01,) * int(sys.argv[1]);"
        "sys.argv[1:] = sys.argv[2:]; sys.exit(w.main())"
    )
    argv = [sys.executable, "-c", code, str(again), WORKER, str(folder)]
    return subprocess.run(argv, check=True, capture_output=True).stdout.split(b"\n")[:-1]


def reassembled(log: list[bytes]) -> tuple[list[bytes], _Frames]:
    frames = _Frames()
    return [line for frame in log for line in frames.take(frame)], frames


def test_lines_arrive_unchanged(tmp_path: Path) -> None:
    lines, frames = reassembled(pod_log(tmp_path, echo="ü\n\nlast", say="a warning"))
    assert lines == ["ü".encode(), b"", b"last"]
    assert frames.end is not None
    assert frames.end["exit_code"] == 0
    assert frames.errors == "a warning\n"


def test_long_lines_are_split_into_frames(tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(100_000).hex()
    log = pod_log(tmp_path, echo=noise)
    assert max(map(len, log)) < 8_000, "container runtimes break lines at 16 KiB"
    assert len(log) > 10
    assert reassembled(log)[0] == [noise.encode()]


def test_spec_in_several_parts(tmp_path: Path) -> None:
    assert reassembled(pod_log(tmp_path, size=20, echo="x" * 500, lines=2))[0] == [b"x" * 500 + b"0 ", b"1 "]
    assert len(list(tmp_path.iterdir())) > 1


def test_lost_frames_are_repeated(tmp_path: Path) -> None:
    log = pod_log(tmp_path, again=1, lines=50)
    whole = len(log) // 2
    log_with_gap = log[:10] + log[20:whole] + [b"a warning of the runtime"] + log[whole:]
    lines, frames = reassembled(log_with_gap)
    assert [int(line) for line in lines] == list(range(50)), "in order, each once"
    assert frames.end is not None
    _, without = reassembled(log[:10] + log[20:whole])
    assert without.end is None
    assert re.findall(r"\d+", without.missing()) == ["10", str(whole - 20)], "in order, and after the gap"


def test_repeated_and_reordered_frames(tmp_path: Path) -> None:
    log = pod_log(tmp_path, lines=30)
    shuffled = log * 2
    random.Random(2).shuffle(shuffled)
    lines, frames = reassembled(shuffled)
    assert [int(line) for line in lines] == list(range(30))
    assert frames.end is not None
    assert re.findall(r"\d+", frames.missing()) == [str(len(log))], "nothing after a gap"


@pytest.mark.parametrize("change", [(b"A", b"B"), (b"a", b"!")])
def test_corrupted_frame(tmp_path: Path, change: tuple[bytes, bytes]) -> None:
    log = pod_log(tmp_path, echo="some text that is compressed")
    head, text = log[0].rsplit(b" ", 1)
    index = next(i for i, letter in enumerate(text) if i > 6 and text[i : i + 1] != b"=" and letter)
    damaged = text[:index] + (b"A" if text[index : index + 1] != b"A" else b"B") + text[index + 1 :]
    with pytest.raises(TrialFailedError) as caught:
        reassembled([head + b" " + damaged.replace(*change), *log[1:]])
    assert caught.value.failure.cause is FailureCause.BENCHMARK_FAILED


def test_swapped_frames(tmp_path: Path) -> None:
    """Each frame is intact, but the digest covers their order too."""
    log = pod_log(tmp_path, lines=3)
    texts = [frame.rsplit(b" ", 1) for frame in log]
    log[0] = texts[0][0] + b" " + texts[1][1]
    log[1] = texts[1][0] + b" " + texts[0][1]
    with pytest.raises(TrialFailedError) as caught:
        reassembled(log)
    assert caught.value.failure.cause is FailureCause.BENCHMARK_FAILED
    assert "digest" in caught.value.failure.message


def test_exit_code(tmp_path: Path) -> None:
    _, frames = reassembled(pod_log(tmp_path, exit_code=7, say="bad"))
    assert frames.end is not None
    assert frames.end["exit_code"] == 7


def test_sigterm(tmp_path: Path) -> None:
    (tmp_path / "000").write_bytes(load_worker.pack(json.dumps({"lines": 1, "wait": 600}).encode(), 10**6)[0])
    argv = [sys.executable, "-m", "autotuner.deployers.kubernetes.load.worker", WORKER, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline().startswith(b"autotuner-frame 1 ")
        os.kill(worker.pid, signal.SIGTERM)
        _, frames = reassembled(worker.stdout.read().split(b"\n"))
        assert worker.wait(30) == 0
    assert frames.missing(), "SIGTERM is passed on to the worker"
