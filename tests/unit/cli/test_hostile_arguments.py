"""Hostile arguments lead to a documented exit code and one line, never to a traceback."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

import autotuner
from autotuner.cli.exit_codes import ExitCode
from autotuner.store import Store

Call = Callable[..., Any]
CODES = {code.value for code in ExitCode}
STUDY = {
    "model": "m.gguf", "engine": {"kind": "llama_cpp", "server": "/bin/true"}, "objective": "max output_throughput",
    "workload": {"scenarios": "D(8,8)", "concurrency": 1},
}  # fmt: skip
ODD = [
    "", " ", "-", "--", "x" * 5000, "x/" * 3000, "a\x1b[31mb", "\udc80", "/dev/zero", "/dev/null",
    "/proc/self/mem", "/",
    "none.yaml", "none.json", "~nobody/x", "9" * 400, "-1", "nan", "1e400", "http://[", "http://127.0.0.1:99999",
    "http://a b/", "https://", "D(1,1)", "sqlite:///", "postgresql://h:x/d", "KEY=", "=x", "a=b=c", "%s%n", "..",
]  # fmt: skip
COMMANDS = [
    ("run", "{}"), ("plan", "{}"), ("doctor", "{}"), ("watch", "{}"), ("stop", "{}"), ("show", "{}"), ("logs", "{}"),
    ("best", "{}"), ("report", "{}"), ("export", "{}"), ("delete", "{}"), ("params", "{}"), ("bench", "{}"),
    ("plan", "{file}", "--mode", "{}"), ("plan", "{file}", "--benchmark", "{}"), ("doctor", "--set", "{}"),
    ("doctor", "--mode", "{}"), ("list", "--store", "{}"), ("logs", "chat-8b", "{}"), ("logs", "chat-8b", "-n", "{}"),
    ("show", "chat-8b", "{}"), ("best", "chat-8b", "--as", "{}"), ("export", "chat-8b", "--as", "{}"),
    ("best", "chat-8b", "--as", "kubernetes", "--image", "{}"), ("best", "chat-8b", "--as", "compose", "--port",
    "{}"),
    ("best", "chat-8b", "--as", "serving-runtime", "--from", "{}"), ("reap", "--study", "{}"),
    ("bench", "http://127.0.0.1:1", "-s", "{}"), ("bench", "http://127.0.0.1:1", "-c", "{}"),
    ("bench", "http://127.0.0.1:1", "-r", "{}"), ("bench", "http://127.0.0.1:1", "-d", "{}"),
    ("bench", "http://127.0.0.1:1", "--seed", "{}"), ("bench", "http://127.0.0.1:1", "--tokenizer", "{}"),
    ("bench", "http://127.0.0.1:1", "--api-key-env", "{}"), ("init", "{dir}/new.yaml", "--engine", "{}"),
    ("restore", "{}"), ("preset", "show", "{}"), ("preset", "save", "{}", "{file}"), ("preset", "save", "chat", "{}"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps files with relative names out of the repository."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps(STUDY))
    return path


def check(done: Any) -> None:
    assert done.code in CODES
    assert "Traceback" not in done.out + done.err
    assert len(done.err) < 20_000
    assert "\x1b" not in done.err


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words).replace("{}", "X"))
def test_odd_values_in_every_position(
    words: tuple[str, ...], call: Call, store_study: Call, file: Path, tmp_path: Path
) -> None:
    store_study("winner")
    slow = words[0] == "reap" or "serving-runtime" in words or "--image" in words
    # Every third value, in turns: each one reaches a third of the positions, and each position a third of the values.
    turn = COMMANDS.index(words) % 3
    for odd in ODD[:8] if slow else ODD[turn::3]:
        check(call(*(word.format(odd, file=file, dir=tmp_path) if "{" in word else word for word in words)))


@pytest.mark.parametrize("command", ["report", "export", "best", "init", "bench"])
def test_odd_output_paths(command: str, call: Call, store_study: Call, tmp_path: Path) -> None:
    store_study("winner")
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    target = ["http://127.0.0.1:1"] if command == "bench" else ["chat-8b"]
    for path in ("", tmp_path, tmp_path / "file/below", "/proc/x", "/dev/full", "x" * 5000, "/proc/self/mem", "a\x1b"):
        where = [str(path)] if command == "init" else [*target, "-o", str(path)]
        done = call(command, *where)
        check(done)
        if str(path) != "a\x1b":
            assert done.code in {ExitCode.FAILED, ExitCode.USAGE, ExitCode.ENVIRONMENT}, (path, done)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("command", ["report", "export", "best"])
def test_dash_means_stdout(command: str, call: Call, store_study: Call, tmp_path: Path) -> None:
    store_study("winner")
    done = call(command, "chat-8b", "-o", "-")
    assert done.code == 0
    written = tmp_path / "file"
    assert call(command, "chat-8b", "-o", str(written)).code == 0
    assert done.out == written.read_text()


# The data directory


@pytest.mark.parametrize("name", ["a%20b", "a%b", "who?", "a#b", "a b", "ü", "a'b\"c", "a:b@c", "%(here)s", "+&=;"])
def test_odd_names_of_the_data_directory(
    name: str, call: Call, store_study: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / name))
    store_study("winner")
    assert "chat-8b" in call("list").out
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "autotuner.db").is_file()


def test_relative_data_directory(
    call: Call, store_study: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTUNER_HOME", "here")
    monkeypatch.chdir(tmp_path)
    store_study("winner")
    path = call("report", "chat-8b").out.strip()
    assert Path(path).is_absolute()
    assert Path(path).is_relative_to(tmp_path / "here")


def test_unusable_data_directory(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for home in (str(tmp_path / "file"), str(tmp_path / "file" / "x"), "/proc/x", "~nobody-of-this-name/x", "x" * 5000):
        monkeypatch.setenv("AUTOTUNER_HOME", home)
        for command in ("list", "doctor", "show"):
            done = call(command, "x") if command == "show" else call(command)
            check(done)
            assert done.code == ExitCode.ENVIRONMENT or command == "doctor"


def test_foreign_file_as_store_keeps_its_mode(call: Call, tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("not a database, but long enough to be taken for one" * 100)
    other.chmod(0o644)
    os.mkfifo(tmp_path / "pipe")
    for path in (other, tmp_path / "pipe"):
        assert call("list", "--store", f"sqlite:///{path}").code == ExitCode.ENVIRONMENT
    assert stat.S_IMODE(other.stat().st_mode) == 0o644


# Damaged rows


@pytest.mark.parametrize("value", ["", "{", "[]", '{"name": 1}', "null", "\x00"])
def test_damaged_study_is_named_and_does_not_hide_others(value: str, call: Call, store_study: Call, home: Path) -> None:
    store_study("winner")
    engine = create_engine(f"sqlite:///{home}/autotuner.db")
    with Store.open() as store, engine.begin() as db:
        spec = store.studies.all()[0].spec.model_copy(update={"name": "broken"})
        store.studies.create(spec, source="x", digest="x", now=1.0)
        db.execute(text("UPDATE studies SET spec = :v WHERE name = 'broken'"), {"v": value})
    done = call("list")
    assert done.code == 0
    assert "chat-8b" in done.out
    assert "the stored study broken" in done.err
    assert [s.name for s in autotuner.list_studies()] == ["chat-8b"]
    shown = call("show", "broken")
    assert shown.code == ExitCode.ENVIRONMENT
    assert "broken" in shown.err
    check(shown)
    assert call("delete", "broken", "--yes").code == 0
    assert call("list").err == ""
    engine.dispose()


def test_damaged_trial_is_named(call: Call, store_study: Call, home: Path) -> None:
    store_study("winner")
    engine = create_engine(f"sqlite:///{home}/autotuner.db")
    with engine.begin() as db:
        db.execute(text("""UPDATE trials SET trial = '{"number": 1, "x": []}' WHERE number = 1"""))
    engine.dispose()
    done = call("show", "chat-8b")
    check(done)
    assert done.code == ExitCode.ENVIRONMENT
    assert "trial 1 of the stored study chat-8b" in done.err
    assert call("list").code == 0


# The terminal


def test_log_text_cannot_control_the_terminal(call: Call, store_study: Call, home: Path) -> None:
    sample = store_study("winner")
    folder = home / "studies" / "chat-8b" / "trials" / f"{sample.trials[0].number:04d}"
    folder.mkdir(parents=True)
    (folder / "server.log").write_bytes(b"\x1b]0;title\x07 \x1b[2J \x9b31m \xc2\x9b31m a\tb\rc \xe2\x80\xae \xff end\n")
    done = call("logs", "chat-8b", str(sample.trials[0].number))
    assert done.out.endswith("end\n")
    assert all(c.isprintable() or c in "\n\t" for c in done.out)
    assert "\\x1b]0;title" in done.out
