"""A machine inside this machine: processes with mounts, network and process numbers of their own.

Everything that is started or mounted in it ends with its first process, and that one ends with ours, however ours ends:
no daemon, container, mount, bridge or address can be left behind. Folders in which programs keep state at fixed places
(``/run``, ``/var/lib``, ``/var/log``) show what the machine has there; what is written goes to memory and is gone with
the rest. It needs root, ``unshare``, ``nsenter``, ``setpriv`` (Debian: util-linux) and ``ip`` (iproute2).
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
    """One such machine; ``folder`` is where it may keep things. A subnet of its own connects it with this machine."""

    def __init__(self, folder: Path, within: str) -> None:
        """``within``: the network to take a /24 of. Raises ``RuntimeError`` where the kernel refuses."""
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
        """Of the inner machine, for all."""
        return str(self.subnet[1])

    @property
    def host_address(self) -> str:
        """Of this machine, as those inside reach it."""
        return str(self.subnet[254])

    def close(self) -> None:
        """Ends every process inside, and with them all that was inside."""
        with suppress(ProcessLookupError):
            # The first process inside takes all others with it, and is waited for by the outer one.
            os.kill(self._inner, signal.SIGKILL)
        self._outer.wait()
        run("ip", "link", "delete", self._link)

    def call(self, *argv: str, stdin: str = "") -> str:
        """Runs a command inside and gives its output. Raises ``RuntimeError`` with what it said where it fails."""
        done = subprocess.run([*self._enter(), *argv], input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{argv[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def start(self, argv: list[str], log: Path, env: dict[str, str]) -> "Inmate":
        """Starts a program inside; it ends with this machine. What it says is added to ``log``."""
        with log.open("ab") as out:
            entered = subprocess.Popen(
                [*self._enter(), "setpriv", "--pdeathsig", "KILL", *argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=env,
                process_group=0,
            )
        return Inmate(entered)

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
                said = outer.stderr.read().strip()
                outer.kill()
                outer.wait()
                raise RuntimeError(f"no namespaces can be made: {said}")
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
        # A bridge without an address of its own takes that of its lowest port, which changes as ports come and go.
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


class Inmate:
    """A program that runs inside."""

    def __init__(self, entered: "subprocess.Popen[bytes]") -> None:
        self._entered = entered
        self.pid = self._child()
        """As this machine counts; the one that entered, where the program has ended already."""

    def ended(self) -> bool:
        """Whether it has ended."""
        return self._entered.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal; nothing happens where it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> None:
        """Returns when it has ended."""
        self._entered.wait()

    def kill(self) -> None:
        """Ends it as SIGKILL does; it is gone on return."""
        self.signal(signal.SIGKILL)
        self._entered.wait()

    def terminate(self) -> None:
        """Asks it to end, and insists where it does not."""
        self.signal(signal.SIGTERM)
        try:
            self._entered.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def thaw(self) -> None:
        """Lets it go on after SIGSTOP, which the process that waits for it has followed."""
        self.signal(signal.SIGCONT)
        self._entered.send_signal(signal.SIGCONT)

    def _child(self) -> int:
        until = time.monotonic() + _PATIENCE_S
        while self._entered.poll() is None and time.monotonic() < until:
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(self._entered.pid).children():
                    return child.pid
            time.sleep(0.005)
        return self._entered.pid


def why_not() -> str:
    """Why no such machine can be made here; empty where one can."""
    if os.geteuid() != 0:
        return "only root can make namespaces"
    for name, package in _NEEDED.items():
        if shutil.which(name) is None:
            return f"{name} is not installed (apt install {package})"
    argv = ["unshare", *_SEPARATE, "true"]
    tried = subprocess.run(argv, capture_output=True, text=True, check=False)
    return f"this machine does not let root make namespaces: {tried.stderr.strip()}" if tried.returncode else ""
