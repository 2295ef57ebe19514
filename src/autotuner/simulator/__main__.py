"""``python -m autotuner.simulator [--flavor sglang|vllm] [--gpu H100] ... ENGINE_FLAGS...``"""

import os
import sys
from collections.abc import Sequence

import uvloop

from autotuner.simulator.config import EngineExitError
from autotuner.simulator.options import Flavor, engine_options, own_options
from autotuner.simulator.server import Logger, SimulatedServer


def main(argv: Sequence[str] | None = None, *, flavor: Flavor | None = None) -> int:
    """Runs the server; returns its exit code, or ends by a signal if the engine would.

    Args:
        argv: The simulator's own options, followed by the engine's; the process's arguments by default.
        flavor: Overrides the flavor in ``argv``.
    """
    try:
        simulation, rest = own_options(sys.argv[1:] if argv is None else argv)
    except ValueError as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 2
    if flavor is not None:
        simulation = simulation.__class__(**{**vars(simulation), "flavor": flavor})
    given = engine_options(simulation.flavor, rest)
    try:
        return uvloop.run(SimulatedServer(simulation, given).run())
    except EngineExitError as error:
        Logger(simulation.flavor)(error.lines)
        sys.stderr.flush()
        if error.exit_code < 0:
            os.kill(os.getpid(), -error.exit_code)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
