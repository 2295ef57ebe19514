"""Starting this package's small processes without importing the package."""

import sys
from pathlib import Path

_SCRIPT = (
    "import sys\n"
    "for name in ('autotuner', 'autotuner.deployers', 'autotuner.deployers.local'):\n"
    "    sys.modules[name] = package = type(sys)(name)\n"
    "    package.__path__ = []\n"
    "package.__path__ = [sys.argv[1]]\n"
    "from autotuner.deployers.local.{module} import main\n"
    "main(*map(int, sys.argv[2:]))"
)


def bare_python(module: str, *descriptors: int) -> list[str]:
    """The argv that calls ``main(*descriptors)`` of a module in this folder.

    The module's packages are replaced by empty ones: importing them takes longer than everything such a process does.
    """
    script = _SCRIPT.format(module=module)
    return [sys.executable, "-I", "-S", "-c", script, str(Path(__file__).parent), *map(str, descriptors)]
