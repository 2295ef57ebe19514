"""A Kubernetes node that stays up: ``up FOLDER`` prints how to use it, ``down FOLDER`` stops it.

A background process holds the node, which ends with that process, even if that is killed.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from autotuner.engines.sglang.engine import Sglang
from autotuner.engines.vllm.engine import Vllm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.labs.cluster import OwnCluster, why_not
from support.labs.cluster_images import write_loadgen, write_simulated

PATIENCE_S = 120.0


def up(folder: Path) -> int:
    """Starts the background process and returns when the node is ready."""
    if why := why_not():
        print(f"cluster: {why}", file=sys.stderr)
        return 4
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "kubeconfig"
    if not held(folder):
        config.unlink(missing_ok=True)
        with (folder / "log").open("wb") as log:
            argv = [sys.executable, __file__, "hold", str(folder)]
            holder = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + PATIENCE_S
        while not config.exists():
            if holder.poll() is not None or time.monotonic() > until:
                holder.kill()
                print(f"cluster: did not start: {(folder / 'log').read_text()[-2000:]}", file=sys.stderr)
                return 1
            time.sleep(0.1)
    print(f"export KUBECONFIG={config.resolve()}")
    return 0


def hold(folder: Path) -> int:
    """Runs the node until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with (folder / "pid").open("w") as own:
        fcntl.flock(own, fcntl.LOCK_EX)
        own.write(str(os.getpid()))
        own.flush()
        with OwnCluster() as cluster:
            names = [Sglang.image, Vllm.image]
            simulated = {"GPU": "H100", "SHAPE": "Llama-3.2-1B", "SPEED": "10"}
            write_simulated(cluster.folder / "simulated.tar", names, simulated)
            write_loadgen(cluster.folder / "loadgen.tar")
            for archive in ("simulated.tar", "loadgen.tar"):
                cluster.load_image(cluster.folder / archive)
                (cluster.folder / archive).unlink()
            ready = folder / "kubeconfig.new"
            shutil.copy(cluster.kubeconfig, ready)
            ready.rename(folder / "kubeconfig")
            try:
                while True:
                    signal.pause()
            finally:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                (folder / "kubeconfig").unlink(missing_ok=True)


def down(folder: Path) -> int:
    """Stops the background process, if there is one, and returns when the node is gone."""
    if held(folder):
        os.kill(int((folder / "pid").read_text()), signal.SIGTERM)
        until = time.monotonic() + PATIENCE_S
        while held(folder):
            if time.monotonic() > until:
                print(f"cluster: did not end within {PATIENCE_S:g} s", file=sys.stderr)
                return 1
            time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def held(folder: Path) -> bool:
    """Whether a process runs a node under this folder."""
    with contextlib.suppress(FileNotFoundError), (folder / "pid").open() as own:
        try:
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


if __name__ == "__main__":
    command, place = sys.argv[1:]
    sys.exit({"up": up, "hold": hold, "down": down}[command](Path(place)))
