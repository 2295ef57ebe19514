"""Files of the user and of the program: read within limits, written without replacing anything but regular files.

Files under the data directory are private (0600, folders 0700) whatever the umask is; files that the user names with
``--out`` get the modes of the user's other files.
"""

import os
import select
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from autotuner.errors import AutotunerError, UsageError
from autotuner.secrets import clean_text, known_secrets

MAX_READ = 8 << 20
"""Largest file in bytes that a user may have written; a larger one suggests a wrong path."""
WAIT_S = 10.0
"""Seconds that a pipe may stay silent, or without its other end."""
_POLL_S = 0.05
_FOLDER = 0o700
_FILE = 0o600
_DESCRIPTORS = ("/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")
"""Paths of files that this process already has open: its standard streams and the shell's ``<(...)``."""


# Reading


def exists(path: Path) -> bool:
    """Whether the path exists; false for text that cannot be a path, because it is too long or has a NUL."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_stream(path: Path) -> bool:
    """Whether the path is an open file of this process or a pipe, which has no folder with further files."""
    return str(path).startswith(_DESCRIPTORS) or path.is_fifo()


def read_text(path: Path, *, limit: int = MAX_READ, remedy: str = "") -> str:
    """The text of a file that a user wrote. Raises ``UsageError``."""
    data = read_bytes(path, limit=limit, remedy=remedy)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError.at(_shown(path), "is not UTF-8 text (it looks like UTF-16)", remedy="save it as UTF-8")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError.at(_shown(path), f"is not UTF-8 text (line {line})", remedy="save it as UTF-8") from None


def read_bytes(path: Path, *, limit: int = MAX_READ, remedy: str = "") -> bytes:
    """The content of a file, a pipe or stdin, at most ``limit`` bytes. Raises ``UsageError``, also for a pipe without a
    writer."""
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise UsageError.at(_shown(path), "is a folder, not a file")
        if stat.S_ISSOCK(kind) or stat.S_ISBLK(kind) or (stat.S_ISCHR(kind) and not is_stream(path)):
            raise UsageError.at(_shown(path), "is a device or a socket, not a file")
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise UsageError.at(_shown(path), "no such file", remedy=remedy) from None
    except (OSError, ValueError) as error:
        raise UsageError.at(_shown(path), f"cannot be read ({reason(error)})") from None
    try:
        return _read(handle, path, limit, regular=stat.S_ISREG(kind))
    except OSError as error:
        raise UsageError.at(_shown(path), f"cannot be read ({reason(error)})") from None
    finally:
        os.close(handle)


def _read(handle: int, path: Path, limit: int, *, regular: bool) -> bytes:
    waiting = select.poll()
    waiting.register(handle, select.POLLIN)
    data = bytearray()
    until = time.monotonic() + WAIT_S
    while len(data) <= limit:
        # Poll first: on a pipe without a writer, poll waits for one, while read would report the end.
        if not regular and not waiting.poll(max(0.0, until - time.monotonic()) * 1000):
            raise UsageError.at(_shown(path), f"nothing was written to it within {WAIT_S:g} s")
        try:
            piece = os.read(handle, 1 << 16)
        except BlockingIOError:
            continue
        if not piece:
            return bytes(data)
        data += piece
        until = time.monotonic() + WAIT_S
    raise UsageError.at(_shown(path), f"is larger than {limit >> 20} MiB")


def reason(error: Exception) -> str:
    """The operating system's message for a file that cannot be used."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _shown(path: Path) -> str:
    text = clean_text(str(path))
    return text if len(text) <= 200 else f"{text[:200]}..."


# Writing


def write_output(path: Path, text: str) -> None:
    """Writes output to a path that the user named.

    A regular file is replaced atomically and keeps its mode. Links are followed; devices and pipes are written to.
    ``-`` is stdout. Raises ``AutotunerError``.
    """
    if str(path) == "-":
        sys.stdout.write(text)
        return
    try:
        _write(path, text.encode(errors="backslashreplace"))
    except IsADirectoryError:
        raise AutotunerError(f"cannot write {_shown(path)}: it is a folder", remedy="name a file") from None
    except (OSError, ValueError) as error:
        raise AutotunerError(f"cannot write {_shown(path)}: {reason(error)}") from None


def _write(path: Path, data: bytes) -> None:
    found = _stat(path)
    if found is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(Path(os.path.realpath(path)), data, None)
    elif stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError
    elif stat.S_ISBLK(found.st_mode) or stat.S_ISSOCK(found.st_mode):
        raise OSError(0, "it is a disk or a socket, not a file")
    elif not stat.S_ISREG(found.st_mode) or str(path).startswith(_DESCRIPTORS):
        _append(path, data)
    elif found.st_nlink > 1:
        _overwrite(path, data)  # replacing it would detach it from its other hard links
    else:
        try:
            _replace(Path(os.path.realpath(path)), data, found)
        except PermissionError:
            _overwrite(path, data)  # no new file may be created in the folder; the file itself may be writable


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _replace(path: Path, data: bytes, old: os.stat_result | None) -> None:
    """Replaces a file atomically: written and synced beside it, then renamed."""
    if old is not None and not os.access(path, os.W_OK):
        raise PermissionError(13, "Permission denied")
    beside = path.with_name(f".{path.name[:100]}.{uuid4().hex[:12]}.part")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            if old is not None:
                os.fchmod(handle, stat.S_IMODE(old.st_mode))
                with suppress(OSError):
                    os.fchown(handle, old.st_uid, old.st_gid)
            file.write(data)
            file.flush()
            os.fsync(handle)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _overwrite(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.truncate(0)
        file.write(data)


def _append(path: Path, data: bytes) -> None:
    """Writes to a device or a pipe. Waits a limited time for the reader of a pipe, because opening it would block."""
    until = time.monotonic() + WAIT_S
    while True:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
            break
        except OSError as error:
            if not path.is_fifo() or time.monotonic() > until:
                raise OSError(error.errno, "nothing reads from this pipe") if path.is_fifo() else error from None
            time.sleep(_POLL_S)
    waiting = select.poll()
    try:
        waiting.register(handle, select.POLLOUT)
        rest = memoryview(data)
        while rest:
            if not waiting.poll(WAIT_S * 1000):
                raise OSError(0, f"nothing was taken from it for {WAIT_S:g} s")
            with suppress(BlockingIOError):
                rest = rest[os.write(handle, rest) :]
    finally:
        os.close(handle)


def output_folder(path: Path) -> Path:
    """Creates a folder for several files if it is missing. Raises ``AutotunerError``."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except (OSError, ValueError) as error:
        why = "it is not a folder" if isinstance(error, FileExistsError | NotADirectoryError) else reason(error)
        raise AutotunerError(f"cannot write to {_shown(path)}: {why}") from None
    return path


# Private files


def make_private(folder: Path) -> None:
    """Creates a private folder; an existing one that other users could read is made private with everything in it.
    Raises ``OSError``."""
    for missing in reversed([f for f in (folder, *folder.parents) if not f.exists()]):
        missing.mkdir(mode=_FOLDER, exist_ok=True)
        missing.chmod(_FOLDER)  # the umask may have removed further bits
    folder.mkdir(exist_ok=True)
    if folder.stat().st_mode & 0o077:
        tighten(folder)


def tighten(folder: Path) -> None:
    """Makes a folder and everything in it private. Links, and files of other users, are left alone."""
    for place, _, names in os.walk(folder):
        with suppress(OSError):
            os.chmod(place, _FOLDER)  # noqa: PTH101 - os.walk's own text
        for name in names:
            file = os.path.join(place, name)  # noqa: PTH118
            with suppress(OSError):
                if stat.S_ISREG(os.lstat(file).st_mode):
                    os.chmod(file, _FILE)  # noqa: PTH101


def private_file(path: Path) -> None:
    """Creates an empty private file, or makes an existing one private. Raises ``OSError`` if it cannot be created."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE))
    with suppress(OSError):
        if stat.S_ISREG(path.stat().st_mode):
            path.chmod(_FILE)


def write_private(path: Path, text: str) -> None:
    """Writes a private file atomically. Raises ``AutotunerError``."""
    try:
        make_private(path.parent)
        beside = path.with_name(f".{path.name}.{uuid4().hex[:12]}.part")
        try:
            private_file(beside)
            beside.write_text(text, encoding="utf-8", errors="backslashreplace")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise AutotunerError(f"cannot write {_shown(path)}: {reason(error)}") from None


def seal(folder: Path) -> None:
    """Makes the folder of a finished trial private, and removes known secrets from the logs in it, because a server may
    print its environment."""
    tighten(folder)
    if not known_secrets():
        return
    for log in folder.glob("*.log"):
        with suppress(OSError):
            _scrub(log)


def _scrub(log: Path) -> None:
    """Removes secrets from a log in chunks of whole lines, which bounds the memory. A log without secrets is kept."""
    if not stat.S_ISREG(log.lstat().st_mode):
        return
    beside = log.with_name(f".{log.name}.part")
    private_file(beside)
    try:
        changed = False
        with log.open("rb") as old, beside.open("wb") as new:
            while lines := old.readlines(1 << 20):
                text = b"".join(lines).decode(errors="surrogateescape")
                cleaned = clean_text(text)
                changed |= cleaned != text
                new.write(cleaned.encode(errors="surrogateescape"))
        if changed:
            beside.replace(log)
    finally:
        beside.unlink(missing_ok=True)
