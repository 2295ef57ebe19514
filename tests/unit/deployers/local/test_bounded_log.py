"""A log file keeps its beginning and its end, and says what is missing."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.deployers.local import bounded_log
from autotuner.deployers.local.bounded_log import BoundedLog
from autotuner.deployers.local.server_log import Log

DROPPED = re.compile(rb"\n\[autotuner: (\d+) bytes of this log were dropped here\]\n")
HEAD = 40
TAIL = 100


def written(path: Path, pieces: list[bytes], flush_every: int) -> bytes:
    path.unlink(missing_ok=True)
    log = BoundedLog(str(path), head=HEAD, tail=TAIL)
    for number, piece in enumerate(pieces):
        log.write(piece)
        if number % flush_every == 0:
            log.flush()
    log.close()
    return path.read_bytes()


@given(pieces=st.lists(st.binary(max_size=150)), flush_every=st.integers(1, 20))
def test_nothing_is_lost_without_being_counted(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], flush_every: int
) -> None:
    everything = b"".join(pieces)
    text = written(tmp_path_factory.getbasetemp() / "log", pieces, flush_every)
    found = DROPPED.search(text)
    if found is None:
        assert text == everything
        return
    head = text[: found.start()]
    tail = text[found.end() :]
    assert everything.startswith(head)
    assert everything.endswith(tail)
    assert len(head) + int(found[1]) + len(tail) == len(everything)
    assert len(text) <= HEAD + 2 * TAIL + len(found[0])


def test_a_small_log_is_left_as_it_is(tmp_path: Path) -> None:
    assert written(tmp_path / "log", [b"a\n", b"b"], 1) == b"a\nb"


def test_cuts_fall_between_lines(tmp_path: Path) -> None:
    lines = [b"line %03d\n" % number for number in range(200)]
    found = DROPPED.split(written(tmp_path / "log", lines, 7))
    assert found[0].splitlines(keepends=True) == lines[:4], "the head"
    assert found[2].splitlines(keepends=True) == lines[-len(found[2].splitlines()) :], "the tail"


def test_a_flood_is_written_once_in_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(bounded_log.time, "monotonic", lambda: now[0])
    path = tmp_path / "log"
    log = BoundedLog(str(path), head=HEAD, tail=TAIL)
    states = set[int]()
    for _ in range(1000):
        log.write(b"0123456789" * 10)
        states.add(path.stat().st_ino)
    assert len(states) == 2, "written anew once: no time has passed"
    assert log.due_s() == 1.0
    now[0] += 1
    assert log.due_s() == 0
    log.flush()
    assert log.due_s() is None
    log.close()


def test_a_log_that_is_copied_from_elsewhere_is_bounded_too(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.say("beginning")
    for _ in range(100):
        log.write(b"y" * (1 << 20))
    log.write(b"\nend\n")
    assert log.tail(1) == "end", "also before the file is written anew"
    log.close()
    text = log.path.read_bytes()
    assert log.failure is None
    assert len(text) <= bounded_log.HEAD_BYTES + 2 * bounded_log.TAIL_BYTES + 1000
    assert text.startswith(b"autotuner: beginning\nyyy")
    assert text.endswith(b"yyy\nend\n")
