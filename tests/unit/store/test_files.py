"""Files of the user, read within limits and written in place, and private files of the program."""

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autotuner import secrets
from autotuner.errors import AutotunerError, UsageError
from autotuner.secrets import known
from autotuner.store import files


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "WAIT_S", 0.5)


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def refused(path: Path, limit: int = 100) -> str:
    with pytest.raises(UsageError) as raised:
        files.read_text(path, limit=limit)
    [problem] = raised.value.problems
    assert "\n" not in str(problem)
    assert len(str(problem)) < 400
    return problem.why


def unwritten(path: Path) -> str:
    with pytest.raises(AutotunerError) as raised:
        files.write_output(path, "text")
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500
    return str(raised.value)


# Reading


def test_reads_files_and_pipes(tmp_path: Path) -> None:
    file = tmp_path / "file"
    pipe = tmp_path / "pipe"
    file.write_text("name: ü\n")
    os.mkfifo(pipe)
    assert files.read_text(file) == "name: ü\n"
    writer = threading.Thread(target=lambda: pipe.write_text("from a pipe"))
    writer.start()
    assert files.read_text(pipe) == "from a pipe"
    writer.join()
    reading, writing = os.pipe()
    os.write(writing, b"from a descriptor")
    os.close(writing)
    assert files.read_text(Path(f"/dev/fd/{reading}")) == "from a descriptor"
    assert files.is_stream(Path(f"/dev/fd/{reading}"))
    assert not files.is_stream(file)
    os.close(reading)


def test_other_than_text_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"a: 1\nb: \xff\xfa\n")
    (tmp_path / "utf16").write_bytes("name: x".encode("utf-16"))
    (tmp_path / "long").write_bytes(b"x" * 101)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "silent")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    assert "folder" in refused(tmp_path)
    assert "device" in refused(Path("/dev/zero"))
    assert "device" in refused(Path("/dev/null"))
    assert "socket" in refused(tmp_path / "socket")
    assert "within" in refused(tmp_path / "silent")
    assert "UTF-8" in refused(tmp_path / "latin")
    assert "line 2" in refused(tmp_path / "latin")
    assert "UTF-16" in refused(tmp_path / "utf16")
    assert "larger" in refused(tmp_path / "long")
    assert refused(tmp_path / "none") == "no such file"
    for impossible in (tmp_path / ("x" * 5000), tmp_path / "loop", Path("a\0b"), tmp_path / "long" / "below"):
        assert "cannot be read" in refused(impossible)
    listening.close()


def test_endless_pipe_is_read_up_to_the_limit(tmp_path: Path) -> None:
    reading, writing = os.pipe()

    def pour() -> None:
        try:
            while True:
                os.write(writing, b"x" * 4096)
        except OSError:
            os.close(writing)

    writer = threading.Thread(target=pour)
    writer.start()
    assert "larger" in refused(Path(f"/dev/fd/{reading}"), limit=1 << 20)
    os.close(reading)
    writer.join()


# Writing


def test_file_is_replaced_atomically_and_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("old")
    file.chmod(0o640)
    before = file.stat().st_ino
    files.write_output(file, "new")
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert file.stat().st_ino != before
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_new_file_follows_the_umask(tmp_path: Path, umask: Callable[[int], int], mask: int, mode: int) -> None:
    umask(mask)
    files.write_output(tmp_path / "new" / "file", "text")
    assert stat.S_IMODE((tmp_path / "new" / "file").stat().st_mode) == mode


def test_links_stay_links(tmp_path: Path) -> None:
    target, link, dangling, twin = (tmp_path / name for name in ("target", "link", "dangling", "twin"))
    target.write_text("old")
    link.symlink_to(target)
    dangling.symlink_to("made")
    files.write_output(link, "new")
    files.write_output(dangling, "made by the way")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert (tmp_path / "made").read_text() == "made by the way"
    os.link(target, twin)
    files.write_output(twin, "both")
    assert target.read_text() == "both"
    assert target.samefile(twin)


def test_devices_and_pipes_are_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    null = tmp_path / "null"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    files.write_output(pipe, "x" * 300_000)
    reader.join()
    assert got == ["x" * 300_000]
    assert pipe.is_fifo()
    try:
        os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        null = Path("/dev/null")
    files.write_output(null, "gone")
    assert null.is_char_device()


def test_stdout_is_appended_to(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files.write_output(Path("-"), "first\n")
    files.write_output(Path("/dev/stdout"), "second\n")
    assert sorted(capfd.readouterr().out.splitlines()) == ["first", "second"]
    with (tmp_path / "shared").open("wb") as file:
        file.write(b"before\n")
        file.flush()
        files.write_output(Path(f"/dev/fd/{file.fileno()}"), "after\n")
    assert (tmp_path / "shared").read_text() == "before\nafter\n"


def test_unwritable_paths_give_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "unread")
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.chdir(tmp_path)
    assert "folder" in unwritten(tmp_path)
    assert "folder" in unwritten(Path())
    assert "nothing reads" in unwritten(tmp_path / "unread")
    for path in ("/proc/x", "/dev/full", tmp_path / "file/below", tmp_path / ("x" * 300), "a\0b", tmp_path / "loop"):
        unwritten(Path(path))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "loop", "unread"]


def test_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    import resource
    import signal

    file = tmp_path / "report"
    file.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(AutotunerError, match="cannot write"):
            files.write_output(file, "x" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report"]


def test_output_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert files.output_folder(tmp_path / "a" / "b").is_dir()
    for path in (
        tmp_path / "file",
        tmp_path / "file" / "x",
        Path("/proc/x"),
        Path("/dev/null"),
        tmp_path / ("x" * 300),
    ):
        with pytest.raises(AutotunerError, match="cannot write to"):
            files.output_folder(path)


# Private files


def test_private_files_ignore_the_umask(tmp_path: Path, umask: Callable[[int], int]) -> None:
    umask(0)
    home = tmp_path / "share" / "home"
    files.make_private(home / "studies")
    files.write_private(home / "studies" / "s" / "report.html", "text")
    (home / "loose").write_text("made by a library")
    home.chmod(0o755)
    files.make_private(home)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in [home, *home.rglob("*")]}
    assert modes == {"home": 0o700, "studies": 0o700, "s": 0o700, "report.html": 0o600, "loose": 0o600}


def test_sealed_logs_have_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_remembered", frozenset())
    log = tmp_path / "server.log"
    link = tmp_path / "link.log"
    log.write_bytes(b"start \xff\n" + b"it is kept-secret\n" * 100_000)
    link.symlink_to("/dev/null")
    files.seal(tmp_path)
    assert b"kept-secret" in log.read_bytes()
    secrets.remember({"MY_TOKEN": "kept-secret"})
    files.seal(tmp_path)
    assert log.read_bytes() == b"start \xff\n" + b"it is ***\n" * 100_000
    assert link.is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.log", "server.log"]
