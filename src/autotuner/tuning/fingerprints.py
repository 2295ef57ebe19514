"""Fingerprints of files and folders by size and content; large files are sampled instead of read whole."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from autotuner.study.environment_facts import Fact

WHOLE_BYTES = 4 << 20
"""Files up to this size in bytes are read whole."""
_SAMPLE_BYTES = 64 << 10
_SAMPLES = 16
"""Samples of a larger file, evenly spread from its start (the header of GGUF and safetensors files) to its end."""
_MOST_FILES = 5000
_LEFT_OUT = frozenset({".git", ".cache", "__pycache__"})

Stamp = tuple[int, int, int, int]
"""(size, modification time, change time, inode): equal if a file was not touched."""


class Fingerprints:
    """Facts about files. Content is read again only if a file was touched."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Stamp, str]] = {}

    def of(self, path: Path) -> Fact | None:
        """The fact for a file or folder; None if it cannot be read."""
        try:
            files = list(_files(path)) if path.is_dir() else [path]
            stamps = [_stamp(file) for file in files]
            digests = [self._digest(file, stamp) for file, stamp in zip(files, stamps, strict=True)]
        except OSError:
            return None
        touched = hashlib.sha256(repr([stamp[1] for stamp in stamps]).encode()).hexdigest()[:12]
        size = sum(stamp[0] for stamp in stamps)
        if path.is_dir():
            names = [(str(f.relative_to(path)), s[0], d) for f, s, d in zip(files, stamps, digests, strict=True)]
            digest = hashlib.sha256(repr(names).encode()).hexdigest()
            return Fact(state=f"{path} ({len(files)} files, {size:,} bytes, sha256 {digest[:12]})", touched=touched)
        return Fact(state=f"{path} ({size:,} bytes, sha256 {digests[0][:12]})", touched=touched)

    def _digest(self, file: Path, stamp: Stamp) -> str:
        known = self._known.get(file)
        if known is None or known[0] != stamp:
            known = (stamp, _sampled(file, stamp[0]))
            self._known[file] = known
        return known[1]


def _files(folder: Path) -> Iterator[Path]:
    """The folder's files in order. Links to files are followed: a hub snapshot consists of them."""
    count = 0
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - _LEFT_OUT)
        for name in sorted(names):
            count += 1
            if count > _MOST_FILES:
                return
            yield Path(here) / name


def _stamp(file: Path) -> Stamp:
    found = file.stat()
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _sampled(file: Path, size: int) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        if size <= WHOLE_BYTES:
            digest.update(stream.read(WHOLE_BYTES))
        else:
            for index in range(_SAMPLES):
                stream.seek((size - _SAMPLE_BYTES) * index // (_SAMPLES - 1))
                digest.update(stream.read(_SAMPLE_BYTES))
    return digest.hexdigest()
