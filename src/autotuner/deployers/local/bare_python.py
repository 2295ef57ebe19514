"""Command line of a small process that does not import the package it belongs to."""

import sys
from pathlib import Path

_PACKAGE = Path(__file__).parents[2]
_SCRIPT = """
import sys
path, module, *descriptors = sys.argv[1:]
parents = module.split(".")[:-1]
for depth in range(len(parents)):
    name = ".".join(parents[:depth + 1])
    sys.modules[name] = package = type(sys)(name)
    package.__path__ = []
package.__path__ = [path]
__import__(module)
sys.modules[module].main(*map(int, descriptors))
"""


def bare_python(module: str, *descriptors: int) -> list[str]:
    """The argv that calls ``main(*descriptors)`` of a module of this package.

    The parent packages are replaced by empty ones, since importing them takes longer than the work of such a process.
    The module can therefore import only the standard library and modules in its own folder.
    """
    folder = _PACKAGE.joinpath(*module.split(".")[1:-1])
    return [sys.executable, "-I", "-S", "-c", _SCRIPT, str(folder), module, *map(str, descriptors)]
