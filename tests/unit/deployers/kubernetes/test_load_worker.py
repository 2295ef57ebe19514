"""The wrapper around a load generator in a pod: its frames, and what comes out when some are missing or twice."""

import json
import os
import random
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


def spoken(folder: Path, *, again: int = 0, size: int = 10_000, **order: Any) -> list[bytes]:
    """The pod's log: what the wrapper writes up to its end, and ``again`` times more."""
    for number, part in enumerate(load_worker.pack(json.dumps(order).encode(), size)):
        (folder / f"{number:03d}").write_bytes(part)
    code = (
        "import sys; from autotuner.deployers.kubernetes.load import worker as w;"
        "w._REPEAT_AFTER_S = (0.01,) * int(sys.argv[1]);"
        "sys.argv[1:] = sys.argv[2:]; sys.exit(w.main())"
    )
    argv = [sys.executable, "-c", code, str(again), WORKER, str(folder)]
    return subprocess.run(argv, check=True, capture_output=True).stdout.split(b"\n")[:-1]


def heard(log: list[bytes]) -> tuple[list[bytes], _Frames]:
    frames = _Frames()
    return [line for said in log for line in frames.take(said)], frames


def test_every_line_arrives_as_it_was(tmp_path: Path) -> None:
    lines, frames = heard(spoken(tmp_path, echo="ü\n\nlast", say="a warning"))
    assert lines == ["ü".encode(), b"", b"last"]
    assert frames.end is not None
    assert frames.end["exit_code"] == 0
    assert frames.errors == "a warning\n"


def test_long_lines_are_cut_into_short_ones(tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(100_000).hex()
    log = spoken(tmp_path, echo=noise)
    assert max(map(len, log)) < 8_000, "container runtimes break lines at 16 KiB"
    assert len(log) > 10
    assert heard(log)[0] == [noise.encode()]


def test_a_spec_in_several_parts(tmp_path: Path) -> None:
    assert heard(spoken(tmp_path, size=20, echo="x" * 500, lines=2))[0] == [b"x" * 500 + b"0 ", b"1 "]
    assert len(list(tmp_path.iterdir())) > 1


def test_lost_frames_are_repeated(tmp_path: Path) -> None:
    log = spoken(tmp_path, again=1, lines=50)
    whole = len(log) // 2
    torn = log[:10] + log[20:whole] + [b"a warning of the runtime"] + log[whole:]
    lines, frames = heard(torn)
    assert [int(line) for line in lines] == list(range(50)), "in order, and each once"
    assert frames.end is not None
    _, without = heard(log[:10] + log[20:whole])
    assert without.end is None
    assert "10 frames arrived in order" in without.missing()


def test_doubles_and_disorder_do_not_matter(tmp_path: Path) -> None:
    log = spoken(tmp_path, lines=30)
    mixed = log * 2
    random.Random(2).shuffle(mixed)
    lines, frames = heard(mixed)
    assert [int(line) for line in lines] == list(range(30))
    assert frames.end is not None
    assert "gap" not in frames.missing()


@pytest.mark.parametrize("change", [(b"A", b"B"), (b"a", b"!")])
def test_damage_is_noticed(tmp_path: Path, change: tuple[bytes, bytes]) -> None:
    log = spoken(tmp_path, echo="some text that is compressed")
    head, text = log[0].rsplit(b" ", 1)
    place = next(i for i, letter in enumerate(text) if i > 6 and text[i : i + 1] != b"=" and letter)
    damaged = text[:place] + (b"A" if text[place : place + 1] != b"A" else b"B") + text[place + 1 :]
    with pytest.raises(TrialFailedError) as caught:
        heard([head + b" " + damaged.replace(*change), *log[1:]])
    assert caught.value.failure.cause is FailureCause.BENCHMARK_FAILED


def test_exchanged_frames_are_noticed(tmp_path: Path) -> None:
    """Each frame is intact, but their order is not."""
    log = spoken(tmp_path, lines=3)
    texts = [said.rsplit(b" ", 1) for said in log]
    log[0] = texts[0][0] + b" " + texts[1][1]
    log[1] = texts[1][0] + b" " + texts[0][1]
    with pytest.raises(TrialFailedError) as caught:
        heard(log)
    assert caught.value.failure.cause is FailureCause.BENCHMARK_FAILED
    assert "digest" in caught.value.failure.message


def test_exit_code_and_signal(tmp_path: Path) -> None:
    _, frames = heard(spoken(tmp_path, exit_code=7, say="bad"))
    assert frames.end is not None
    assert frames.end["exit_code"] == 7


def test_it_ends_by_sigterm(tmp_path: Path) -> None:
    (tmp_path / "000").write_bytes(load_worker.pack(json.dumps({"lines": 1, "wait": 600}).encode(), 10**6)[0])
    argv = [sys.executable, "-m", "autotuner.deployers.kubernetes.load.worker", WORKER, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline().startswith(b"autotuner-frame 1 ")
        os.kill(worker.pid, signal.SIGTERM)
        _, frames = heard(worker.stdout.read().split(b"\n"))
        assert worker.wait(30) == 0
    assert frames.missing(), "the worker itself was ended too"
