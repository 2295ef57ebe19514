"""Logging: silent by default, without secrets, compatible with a live display."""

import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live

from autotuner import secrets
from autotuner.errors import AutotunerError, UsageError
from autotuner.logs import ROOT, FailureLog, SecretFilter, logging_to
from autotuner.secrets import known

logger = logging.getLogger("autotuner.deployers.example")


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Checks that a test leaves no handler and no level behind."""
    monkeypatch.setattr(known, "_remembered", frozenset())
    root = logging.getLogger(ROOT)
    before = (root.level, list(root.handlers))
    yield
    assert (root.level, list(root.handlers)) == before


def log_both() -> None:
    logger.info("a change")
    logger.debug("a call")


def test_nothing_is_written_without_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    log_both()
    with logging_to():
        log_both()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("verbosity", "seen"), [(0, []), (1, ["a change"]), (2, ["a change", "a call"])])
def test_the_verbosity_limits_the_terminal_and_not_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verbosity: int, seen: list[str]
) -> None:
    file = tmp_path / "run.log"
    file.write_text("from an earlier run\n")
    with logging_to(verbosity, file):
        log_both()
    log_both()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [line.rpartition(": ")[2] for line in shown.err.splitlines() if "example" in line] == seen
    earlier, started, *lines = file.read_text().splitlines()
    assert earlier == "from an earlier run"
    assert "Python" in started
    assert [line.split()[2:4] for line in lines] == [
        ["INFO", "autotuner.deployers.example:"],
        ["DEBUG", "autotuner.deployers.example:"],
    ]


def test_secrets_are_cleaned_in_messages_arguments_and_tracebacks(tmp_path: Path) -> None:
    file = tmp_path / "run.log"
    secrets.remember({"env": {"MY_PASS": "PLANTED-value"}})

    def work() -> None:
        logger.info("launching %s with %s", ["--flag", "PLANTED-value"], {"HF_TOKEN": "hf_1PLANTEDabcdefgh"})
        logger.debug("GET https://me:PLANTED1pw@example.com/hook?token=PLANTED2abc")
        try:
            raise OSError("the server repeats PLANTED-value")
        except OSError:
            logger.info("failed", exc_info=True)
        raise ValueError("PLANTED-value")

    with pytest.raises(ValueError, match="PLANTED"), logging_to(file=file):
        work()
    text = file.read_text()
    assert "launching" in text
    assert "the server repeats" in text
    assert text.count("Traceback") == 2
    assert [line for line in text.splitlines() if "PLANTED" in line] == []


def test_the_filter_works_on_handlers_of_a_program_that_imports_the_package() -> None:
    secrets.remember({"env": {"MY_PASS": "PLANTED-value"}})
    stream = io.StringIO()
    own = logging.StreamHandler(stream)
    own.addFilter(SecretFilter())
    logger.addHandler(own)
    try:
        logger.warning("with %s", "PLANTED-value")
    finally:
        logger.removeHandler(own)
    assert stream.getvalue().startswith("with ")
    assert "PLANTED" not in stream.getvalue()


def test_control_characters_can_neither_forge_a_record_nor_move_the_cursor(tmp_path: Path) -> None:
    file = tmp_path / "run.log"
    with logging_to(file=file):
        logger.info("said: %s", "\x1b[2Jx\r\n2026-01-01 00:00:00.000 INFO  autotuner: forged \u202e")
    _, first, second = file.read_text().splitlines()
    assert first.endswith(r"said: \x1b[2Jx\r")
    assert second.startswith("    2026")
    assert second.endswith(r"\u202e")


@pytest.mark.parametrize("kind", ["no folder", "a folder", "a pipe that nothing reads", "a NUL"])
def test_a_file_that_cannot_be_opened_is_rejected_at_once(tmp_path: Path, kind: str) -> None:
    paths = {"no folder": tmp_path / "no" / "x", "a folder": tmp_path, "a NUL": Path("a\0b")}
    path = paths.get(kind, tmp_path / "pipe")
    if kind.startswith("a pipe"):
        os.mkfifo(path)
    with pytest.raises(UsageError) as caught, logging_to(file=path):
        pytest.fail("nothing runs without its log")
    (problem,) = caught.value.problems
    assert problem.where == "--log-file"
    assert problem.remedy


def test_a_full_disk_ends_the_log_and_not_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to(file=Path("/dev/full")):
        for _ in range(3):
            log_both()
    (line,) = capsys.readouterr().err.splitlines()
    assert "/dev/full" in line


def test_records_are_printed_above_a_live_display(capsys: pytest.CaptureFixture[str]) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, height=10)
    with logging_to(1), Live("the table", console=console, auto_refresh=False) as live:
        live.refresh()
        screen.truncate(0)
        logger.info("a change")
    written = screen.getvalue()
    assert written.index("a change") < written.rindex("the table"), "printed above, and the table drawn again"
    assert "a change" not in capsys.readouterr().err
    assert sys.stderr is not screen


def test_a_failure_that_repeats_is_written_once(caplog: pytest.LogCaptureFixture) -> None:
    failures = FailureLog(logger, "polling failed")
    for _ in range(3):
        failures.failed(AutotunerError("the store is locked"))
    for _ in range(2):
        failures.failed(KeyError("seq"))
    failures.succeeded()
    failures.failed(KeyError("seq"))
    assert [record.getMessage() for record in caplog.records] == [
        "polling failed: the store is locked",
        "polling failed: KeyError: 'seq'",
        "polling failed: KeyError: 'seq'",
    ]
    assert [record.exc_info is not None for record in caplog.records] == [False, True, True]
