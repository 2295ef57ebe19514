"""How many requests a server runs at once, as far as it is known."""

from collections.abc import Mapping, Sequence

from autotuner.plugins.engine import Engine


def running_limit(engine: Engine, argv: Sequence[str], resolved: Mapping[str, object]) -> int | None:
    """The limit of one replica: what the server says of itself, else its command line. None where neither has it, as
    with vLLM's default, which depends on its version and GPU."""
    source = engine.server_metrics
    if source is None or not source.running_limit_flag:
        return None
    flag = source.running_limit_flag
    for found in (resolved.get(flag), engine.flag_value(argv, flag) if argv else None):
        try:
            limit = int(str(found))
        except ValueError:
            continue
        if limit > 0:
            return limit
    return None
