"""Runs a module as a child that cannot outlive its parent.

``python -m autotuner.deployers._worker PARENT_PID MODULE``: asks the kernel to end this process when the parent ends
(prctl PR_SET_PDEATHSIG), then runs the module as ``__main__``. It is done here, in the child's own interpreter, since
code between fork and exec is unsafe in a program with threads.
"""

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Binds this process to its parent and becomes the module."""
    parent, module = int(sys.argv[1]), sys.argv[2]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent has ended")
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
