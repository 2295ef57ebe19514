"""A scripted load generator for tests of command runners.

Reads a JSON object from stdin. ``lines``: how many numbered lines to write, of ``size`` bytes each, with a pause of
``every`` seconds; ``echo``: a text to write unchanged; ``say``: a line for stderr; ``wait``: seconds to keep running
afterward; ``exit_code``; ``pids``: a file for the process IDs of this process and, with ``child``, of a child that
ignores SIGTERM.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

_SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def main() -> int:
    """Follows the instructions on stdin; returns the exit code."""
    order = json.loads(sys.stdin.buffer.read())
    pids = [os.getpid()]
    if order.get("child"):
        pids.append(subprocess.Popen([sys.executable, "-c", _SLEEPER]).pid)
    if "pids" in order:
        partial = Path(order["pids"] + ".part")
        partial.write_text(json.dumps(pids))
        partial.replace(order["pids"])
    out = sys.stdout.buffer
    if "echo" in order:
        out.write(order["echo"].encode())
    for number in range(order.get("lines", 0)):
        out.write(f"{number} ".encode().ljust(order.get("size", 1), b"x") + b"\n")
        out.flush()
        time.sleep(order.get("every", 0))
    out.flush()
    if "say" in order:
        sys.stderr.write(order["say"] + "\n")
        sys.stderr.flush()
    time.sleep(order.get("wait", 0))
    return int(order.get("exit_code", 0))


if __name__ == "__main__":
    sys.exit(main())
