"""Host resources of the engines and clusters that a test run starts, and their removal."""

import fcntl
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Network
from pathlib import Path

PLACE = Path("/tmp")  # noqa: S108 - the path of a Unix socket must be short
_LOCK = Path(tempfile.gettempdir()) / "autotuner-subnets.lock"


def run(*argv: str) -> None:
    """Runs a cleanup command and ignores its failure: the resource may already be gone."""
    subprocess.run(argv, capture_output=True, check=False)


@contextmanager
def free_subnet(within: str, prefix: int) -> Iterator[IPv4Network]:
    """Finds a subnet that no route of this machine uses, and reserves it for the block against concurrent test runs."""
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        taken = [_network(*line.split()[1:8:6]) for line in Path("/proc/net/route").read_text().splitlines()[1:]]
        candidates = list(IPv4Network(within).subnets(new_prefix=prefix))
        random.SystemRandom().shuffle(candidates)
        yield next(c for c in candidates if not any(c.overlaps(other) for other in taken if other.prefixlen))


def processes_naming(names: list[str]) -> list[int]:
    """Returns process ids with one of these names in their command line or control group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                text = (entry / "cmdline").read_bytes() + (entry / "cgroup").read_bytes()
                if any(name.encode() in text for name in names):
                    found.append(int(entry.name))
    return found


def control_groups(names: Collection[str]) -> list[Path]:
    """Returns the control groups of these names in all hierarchies."""
    walked = os.walk("/sys/fs/cgroup")
    return [Path(place) / name for place, folders, _ in walked for name in folders if name in names]


def mounts_below(folder: Path) -> list[str]:
    """Returns the mount points below a folder, innermost first."""
    places = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
    return sorted((p for p in places if Path(p).is_relative_to(folder)), reverse=True)


def _network(destination: str, mask: str) -> IPv4Network:
    """Parses two columns of the kernel's routing table, which are hexadecimal in this machine's byte order."""
    address, bits = (int.from_bytes(bytes.fromhex(column), sys.byteorder) for column in (destination, mask))
    return IPv4Network((address, bits.bit_count()), strict=False)
