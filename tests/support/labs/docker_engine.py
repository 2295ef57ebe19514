"""A Docker engine that the test run starts, and removes with everything in it.

It neither uses the machine's daemon nor changes its network configuration. It requires root and ``dockerd``. The image
is empty: the ``volumes`` setting mounts the machine's programs and libraries, so that no registry is needed.
"""

import io
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx

import autotuner
from support.labs.host import PLACE, control_groups, free_subnet, mounts_below, processes_naming, run

IMAGE = "autotuner-test:1"
_PATIENCE_S = 60.0
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ssl")
_BRIDGE = "bridge"
_HOOK = "nvidia-container-runtime-hook"
_HOOK_SCRIPT = "#!/bin/sh\nexec cat >/dev/null\n"


def why_not() -> str:
    """Explains why no engine can be started here; empty if one can."""
    if os.geteuid() != 0:
        return "only root can start a Docker engine"
    missing = [name for name in ("dockerd", "containerd", "runc", "docker-proxy", "ip") if shutil.which(name) is None]
    return f"{missing[0]} is not installed (apt install docker.io)" if missing else ""


class OwnEngine:
    """An engine in a temporary folder, as a context manager.

    Args:
        gpu_hook: Whether the engine accepts GPU requests, with a fake NVIDIA hook.
        data: Data root; unset: in the temporary folder.
    """

    def __init__(self, *, gpu_hook: bool = True, data: Path | None = None) -> None:
        _remove_stale()
        self._folder = Path(tempfile.mkdtemp(prefix=f"atd-{os.getpid()}-", dir=PLACE))
        self._data = data or self._folder / "data"
        self._path = os.environ["PATH"]
        if gpu_hook:
            hook = self._folder / "bin" / _HOOK
            hook.parent.mkdir()
            hook.write_text(_HOOK_SCRIPT)
            hook.chmod(0o755)
            self._path = f"{hook.parent}:{self._path}"
        self._bridge = f"atd{secrets.token_hex(4)}"
        (self._folder / _BRIDGE).write_text(self._bridge)
        self._daemon: subprocess.Popen[bytes] | None = None
        self.socket = self._folder / "sock"
        self.url = f"unix://{self.socket}"

    def __enter__(self) -> Self:
        try:
            self.start()
            self._make_image()
            self._make_network()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the daemon."""
        assert self._daemon is not None
        return self._daemon.pid

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Returns settings of a deployer for this engine; keywords override them.

        There are no ulimits, because the engine may lack the privileges to raise them.
        """
        defaults: dict[str, Any] = {
            "docker_host": self.url,
            "image": IMAGE,
            "network": self._bridge,
            "volumes": host_volumes(),
            "ulimits": {},
            "shm_size": "64m",
            "stop_grace": "2s",
            "pull": "never",
        }
        return {**defaults, **changes}

    def start(self) -> None:
        """Starts the daemon, and returns when it answers."""
        folder = self._folder
        argv = ["dockerd", "-H", self.url, "-p", str(folder / "pid")]
        argv += ["--data-root", str(self._data), "--exec-root", str(folder / "exec")]
        argv += ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]
        if shutil.which("setpriv"):
            argv = ["setpriv", "--pdeathsig", "TERM", *argv]
        with (folder / "log").open("ab") as log:
            self._daemon = subprocess.Popen(argv, stdout=log, stderr=log, env={**os.environ, "PATH": self._path})
        until = time.monotonic() + _PATIENCE_S
        while not self.answers():
            if self._daemon.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"dockerd did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether the daemon answers."""
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError, httpx.HTTPError):
            probe.connect(str(self.socket))
            return self.api("GET", "/_ping").status_code == httpx.codes.OK
        return False

    def api(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Makes a call of the engine's API."""
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://docker", timeout=_PATIENCE_S
        ) as client:
            return client.request(method, path, **options)

    def containers(self) -> list[dict[str, Any]]:
        """Returns all containers, in any state."""
        found: list[dict[str, Any]] = self.api("GET", "/containers/json", params={"all": "true"}).json()
        return found

    def inspect(self, name: str) -> dict[str, Any]:
        """Returns the output of ``docker inspect`` for a container."""
        found: dict[str, Any] = self.api("GET", f"/containers/{name}/json").json()
        return found

    def kill(self) -> None:
        """Sends SIGKILL to the daemon; its containers keep running."""
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.wait()
        # If process 1 does not reap its children, the next daemon would wait in vain for this containerd to end.
        (self._folder / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def terminate(self) -> None:
        """Sends SIGTERM to the daemon, which first ends its containers."""
        assert self._daemon is not None
        self._daemon.terminate()
        try:
            self._daemon.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def stop(self) -> None:
        """Removes containers, network, daemon, mounts and folders."""
        if self._daemon is not None and self._daemon.poll() is None:
            with suppress(httpx.HTTPError, ValueError):
                for container in self.containers():
                    self.api("DELETE", f"/containers/{container['Id']}", params={"force": "true"})
                self.api("DELETE", f"/networks/{self._bridge}")
            self.terminate()
        _remove(self._folder, self._data)

    def _make_image(self) -> None:
        empty = io.BytesIO()
        tarfile.open(fileobj=empty, mode="w").close()
        name, _, tag = IMAGE.partition(":")
        params = {"fromSrc": "-", "repo": name, "tag": tag, "changes": "ENV PATH=/usr/local/bin:/usr/bin:/bin"}
        self.api("POST", "/images/create", params=params, content=empty.getvalue()).raise_for_status()

    def _make_network(self) -> None:
        with free_subnet("10.201.0.0/16", 26) as subnet:
            body = {
                "Name": self._bridge,
                "Driver": "bridge",
                "IPAM": {"Config": [{"Subnet": str(subnet)}]},
                "Options": {"com.docker.network.bridge.name": self._bridge},
            }
            self.api("POST", "/networks/create", json=body).raise_for_status()


def _remove(folder: Path, data: Path) -> None:
    """Removes what an ended engine left: processes, control groups, its bridge, mounts and files."""
    containers = [entry.name for entry in data.glob("containers/*")]
    for pid in processes_naming([str(folder), *containers]):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for group in control_groups(containers):
        with suppress(OSError):
            group.rmdir()
    run("ip", "link", "delete", (folder / _BRIDGE).read_text())
    for place in mounts_below(folder):
        run("umount", "-l", place)
    shutil.rmtree(folder, ignore_errors=True)


def _remove_stale() -> None:
    """Removes what killed test runs left."""
    for folder in PLACE.glob("atd-*-*"):
        owner = folder.name.split("-")[1]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists() and (folder / _BRIDGE).exists():
            _remove(folder, folder / "data")


def host_volumes() -> list[str]:
    """Returns the read-only volumes that this Python needs in an empty container."""
    source = Path(autotuner.__file__).resolve().parents[1]
    wanted = [*_SYSTEM, sys.prefix, sys.base_prefix, sysconfig.get_path("purelib"), str(source)]
    chosen: list[str] = []
    for folder in sorted({name for name in wanted if Path(name).exists()}):
        if not any(Path(folder).is_relative_to(other) for other in chosen):
            chosen.append(folder)
    return [f"{folder}:{folder}:ro" for folder in chosen]
