"""Number of requests that a server runs at once, as far as it is known."""

from collections.abc import Mapping, Sequence

from autotuner.plugins.engine import Engine


def running_limit(engine: Engine, argv: Sequence[str], resolved: Mapping[str, object]) -> int | None:
    """The limit of one replica as the server reports it, otherwise from its command line.

    None if neither has it, as for vLLM's default, which depends on version and GPU.
    """
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
