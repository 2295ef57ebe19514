"""Linux namespaces that isolate processes, mounts and network from this machine.

Everything inside ends with the first process inside, and that one ends with the test run, even if it is killed: no
daemon, container, mount, bridge or address is left. Folders in which programs keep state at fixed paths (``/run``,
``/var/lib``, ``/var/log``) are overlays whose upper layer is in memory. Requires root, ``unshare``, ``nsenter``,
``setpriv`` (Debian: util-linux) and ``ip`` (iproute2).
"""

import os
import secrets
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path

import psutil

from support.labs.host import free_subnet, run

_PATIENCE_S = 20.0
_NEEDED = {"ip": "iproute2", "mount": "mount", **dict.fromkeys(("unshare", "nsenter", "setpriv"), "util-linux")}
_SEPARATE = ("--pid", "--fork", "--kill-child=KILL", "--mount", "--mount-proc", "--propagation", "slave", "--net")
_INIT = """
mount --make-rshared / && mkdir -p "$1" && mount -t tmpfs -o mode=755 none "$1" || exit 1
for place in run var/lib var/log; do
    mkdir -p "$1/$place/upper" "$1/$place/work"
    mount -t overlay overlay -o "lowerdir=/$place,upperdir=$1/$place/upper,workdir=$1/$place/work" "/$place" || exit 1
done
trap '' CHLD
echo ready
exec sleep infinity >/dev/null
"""
BRIDGE = "inside0"


class Namespaces:
    """A set of namespaces, connected with this machine by its own subnet.

    Args:
        folder: Folder for its state.
        within: Network from which to take a /24.

    Raises:
        RuntimeError: If the kernel refuses.
    """

    def __init__(self, folder: Path, within: str) -> None:
        self._folder = folder
        self._link = f"atk{secrets.token_hex(4)}"
        self._outer = self._begin()
        [inner] = psutil.Process(self._outer.pid).children()
        self._inner = inner.pid
        try:
            with free_subnet(within, 24) as subnet:
                self.subnet: IPv4Network = subnet
                self._connect()
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        """Address of the namespaces, from both sides."""
        return str(self.subnet[1])

    @property
    def host_address(self) -> str:
        """Address of this machine, as seen from inside."""
        return str(self.subnet[254])

    def close(self) -> None:
        """Kills every process inside, and with them everything that was mounted or configured."""
        with suppress(ProcessLookupError):
            # The kernel kills all others with the first process inside, for which the outer process waits.
            os.kill(self._inner, signal.SIGKILL)
        self._outer.wait()
        run("ip", "link", "delete", self._link)

    def call(self, *argv: str, stdin: str = "") -> str:
        """Runs a command inside and returns its stdout. Raises ``RuntimeError`` with its stderr if it fails."""
        done = subprocess.run([*self._enter(), *argv], input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{argv[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def start(self, argv: list[str], log: Path, env: dict[str, str]) -> "Program":
        """Starts a program inside, which ends with the namespaces; its output is appended to ``log``."""
        with log.open("ab") as out:
            entered = subprocess.Popen(
                [*self._enter(), "setpriv", "--pdeathsig", "KILL", *argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=env,
                process_group=0,
            )
        return Program(entered)

    def _enter(self) -> list[str]:
        return ["nsenter", "-t", str(self._inner), "-m", "-n", "-p", "--"]

    def _begin(self) -> "subprocess.Popen[str]":
        argv = ["setpriv", "--pdeathsig", "KILL", "unshare", *_SEPARATE]
        argv += ["sh", "-c", _INIT, "sh", str(self._folder / "memory")]
        outer = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
        )
        assert outer.stdout is not None
        assert outer.stderr is not None
        with outer.stdout, outer.stderr:
            if outer.stdout.readline().strip() != "ready":
                error = outer.stderr.read().strip()
                outer.kill()
                outer.wait()
                raise RuntimeError(f"cannot create namespaces: {error}")
        return outer

    def _connect(self) -> None:
        link = ("ip", "link", "add", self._link, "type", "veth", "peer", "name", "up0", "netns", str(self._inner))
        outside = [
            link,
            ("ip", "addr", "add", f"{self.host_address}/24", "dev", self._link),
            ("ip", "link", "set", self._link, "up"),
        ]
        for argv in outside:
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
        # Without an explicit MAC address, a bridge takes the lowest of its ports, which changes as ports come and go.
        octets = ":".join(f"{byte:02x}" for byte in self.subnet[1].packed)
        inside = f"""
            link set lo up
            link add {BRIDGE} address 02:00:{octets} type bridge
            link set up0 master {BRIDGE}
            link set up0 up
            addr add {self.address}/24 dev {BRIDGE}
            link set {BRIDGE} up
        """
        self.call("ip", "-batch", "-", stdin="\n".join(line.strip() for line in inside.strip().splitlines()))


class Program:
    """A program that runs inside."""

    def __init__(self, entered: "subprocess.Popen[bytes]") -> None:
        self._entered = entered
        self.pid = self._child()
        """Its process id on this machine; that of ``nsenter`` if the program has already ended."""

    def ended(self) -> bool:
        """Whether the program has ended."""
        return self._entered.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        """Sends the program a signal, unless it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> None:
        """Waits until the program has ended."""
        self._entered.wait()

    def kill(self) -> None:
        """Sends SIGKILL and waits until the program has ended."""
        self.signal(signal.SIGKILL)
        self._entered.wait()

    def terminate(self) -> None:
        """Sends SIGTERM, and SIGKILL if the program does not end."""
        self.signal(signal.SIGTERM)
        try:
            self._entered.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def freeze(self) -> None:
        """Sends SIGSTOP, and waits until no thread of the program runs: on a busy machine, one may still answer."""
        self.signal(signal.SIGSTOP)
        until = time.monotonic() + _PATIENCE_S
        while self._states() != {"T"}:
            if time.monotonic() > until:
                raise TimeoutError(f"process {self.pid} still runs {_PATIENCE_S} s after SIGSTOP")
            time.sleep(0.005)

    def thaw(self) -> None:
        """Resumes the program after SIGSTOP, and ``nsenter``, which stops along with it."""
        self.signal(signal.SIGCONT)
        self._entered.send_signal(signal.SIGCONT)

    def _states(self) -> set[str]:
        """The states of all threads, as in ``/proc/PID/task/TID/stat``."""
        found = set()
        for stat in Path(f"/proc/{self.pid}/task").glob("*/stat"):
            with suppress(ProcessLookupError, FileNotFoundError):
                found.add(stat.read_text().rpartition(")")[2].split()[0])
        return found

    def _child(self) -> int:
        until = time.monotonic() + _PATIENCE_S
        while self._entered.poll() is None and time.monotonic() < until:
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(self._entered.pid).children():
                    return child.pid
            time.sleep(0.005)
        return self._entered.pid


def why_not() -> str:
    """Explains why no namespaces can be created here; empty if they can."""
    if os.geteuid() != 0:
        return "only root can create namespaces"
    for name, package in _NEEDED.items():
        if shutil.which(name) is None:
            return f"{name} is not installed (apt install {package})"
    argv = ["unshare", *_SEPARATE, "true"]
    tried = subprocess.run(argv, capture_output=True, text=True, check=False)
    return f"this machine does not let root create namespaces: {tried.stderr.strip()}" if tried.returncode else ""
