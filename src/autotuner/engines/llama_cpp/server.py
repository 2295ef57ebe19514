"""llama.cpp's own HTTP server from the ``xllamacpp`` wheel, started with llama-server's command line.

The wheel contains no program. This one sets llama-server's options on ``xllamacpp.CommonParams`` and serves in process;
it reports errors in llama-server's wording, with exit code 1. The environment variables of llama-server
(``LLAMA_ARG_*``) are ignored, so that the command line describes the server completely.

Standard library and the wheel only, so that it starts as fast as the server itself.
Usage: ``python -m autotuner.engines.llama_cpp.server --model FILE [OPTION]...``
"""

import importlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from autotuner.engines.llama_cpp.options import OPTIONS, Option

_SPELLINGS: dict[str, tuple[Option, bool]] = {
    **{s: (option, True) for option in OPTIONS for s in (option.name, *option.aliases)},
    **{s: (option, False) for option in OPTIONS for s in option.off},
}
_DEFAULT_PORT = 8080


class BadArgumentError(Exception):
    """A command line that llama-server would refuse, with its error message."""


def parse(argv: Sequence[str]) -> list[tuple[Option, Any]]:
    """The options of a command line, in order, with converted values.

    The argument after an option is its value, whatever it looks like; ``--option=value`` works as well.

    Raises:
        BadArgumentError: An unknown option, or a missing or invalid value.
    """
    found: list[tuple[Option, Any]] = []
    rest = list(argv)
    while rest:
        written = rest.pop(0)
        spelling, equals, inline = written.partition("=")
        option, on = _option(written, spelling)
        if option.kind == "bool":
            if equals:
                raise BadArgumentError(f"error: invalid argument: {written}")
            found.append((option, on))
            continue
        if not equals and not rest:
            raise BadArgumentError(f'error while handling argument "{written}": expected value for argument')
        found.append((option, _converted(option, spelling, inline if equals else rest.pop(0))))
    return found


def _option(written: str, spelling: str) -> tuple[Option, bool]:
    """The option of a spelling, and whether it turns the option on. One or two dashes are accepted for any name."""
    match = re.fullmatch(r"--?([A-Za-z][A-Za-z0-9-]*)", spelling)
    known = _SPELLINGS.get(match[1]) if match else None
    if known is None:
        raise BadArgumentError(f"error: invalid argument: {written}")
    return known


def _converted(option: Option, spelling: str, text: str) -> Any:
    if option.kind in {"int", "float"}:
        if text in option.choices:
            return {"auto": -1, "all": -2}[text]
        try:
            return int(text) if option.kind == "int" else float(text)
        except ValueError:
            kind = "a whole number" if option.kind == "int" else "a number"
            raise BadArgumentError(f'error while handling argument "{spelling}": "{text}" is not {kind}') from None
    if option.kind == "choice" and text not in option.choices:
        words = ", ".join(option.choices)
        raise BadArgumentError(f"error: unknown value for {spelling}: '{text}' (one of: {words})")
    return text


def _enum(wheel: Any, option: Option, word: str) -> Any:
    """The wheel's enum value for a choice."""
    spelled = {"mmap+mlock": "MMAP_MLOCK", "dio": "DIRECT_IO"}.get(word, word.upper())
    if option.target in {"cache_type_k", "cache_type_v"}:
        return getattr(wheel.ggml_type, f"GGML_TYPE_{spelled}")
    if option.target == "flash_attn_type":
        state = {"ON": "ENABLED", "OFF": "DISABLED"}.get(spelled, spelled)
        return getattr(wheel.llama_flash_attn_type, f"LLAMA_FLASH_ATTN_TYPE_{state}")
    if option.target == "fit_params":
        return word == "on"
    if option.target == "numa":
        return getattr(wheel.ggml_numa_strategy, f"GGML_NUMA_STRATEGY_{spelled}")
    if option.target == "pooling_type":
        return getattr(wheel.llama_pooling_type, f"LLAMA_POOLING_TYPE_{spelled}")
    family = getattr(wheel, f"llama_{option.target}")
    return getattr(family, f"LLAMA_{option.target.upper()}_{spelled}")


def _assign(params: Any, path: str, value: Any) -> None:
    *parents, name = path.removeprefix("!").split(".")
    for parent in parents:
        params = getattr(params, parent)
    setattr(params, name, not value if path.startswith("!") else value)


def _append(wheel: Any, params: Any, option: Option, value: str) -> None:
    item: Any = value
    if option.name == "lora":
        item = wheel.CommonAdapterLoraInfo()
        item.path = value
    setattr(params, option.target, [*getattr(params, option.target), item])


def _set_service(wheel: Any, params: Any, option: Option, value: Any) -> None:
    if option.name == "reranking" and value:
        params.embedding = True
        params.pooling_type = wheel.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    elif option.name == "alias":
        params.model_alias = {name for name in value.split(",") if name}
    elif option.name == "host":
        params.hostnames = value.split(",")
    elif option.name == "timeout":
        params.timeout_read = params.timeout_write = value


def apply(wheel: Any, params: Any, options: Sequence[tuple[Option, Any]]) -> None:
    """Puts parsed options on the wheel's parameters. Raises :class:`BadArgumentError` for values it refuses."""
    params.n_parallel = -1
    params.port = _DEFAULT_PORT
    params.reuse_port = False
    for option, value in options:
        try:
            if not option.target:
                _set_service(wheel, params, option, value)
            elif option.kind == "choice":
                _assign(params, option.target, _enum(wheel, option, value))
            elif option.name in {"prio", "prio-batch"}:
                _assign(params, option.target, wheel.ggml_sched_priority(value))
            elif option.repeated:
                _append(wheel, params, option, value)
            elif option.name == "seed":
                _assign(params, option.target, value % 2**32)
            else:
                _assign(params, option.target, value)
        except (ValueError, TypeError, OverflowError, AttributeError) as error:
            raise BadArgumentError(f'error while handling argument "--{option.name}": {error}') from None
    given = {option.name for option, _ in options}
    for name in ("n_threads", "poll", "strict_cpu"):
        batch = {"n_threads": "threads-batch", "poll": "poll-batch", "strict_cpu": "cpu-strict-batch"}[name]
        if batch not in given:
            setattr(params.cpuparams_batch, name, getattr(params.cpuparams, name))


def serve(server: Callable[[], Any]) -> int:
    """Serves until SIGTERM or SIGINT. While the model loads, these signals end the process immediately."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    running = server()
    sys.stdout.write(f"listening on {running.listening_address}\n")
    sys.stdout.flush()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
    del running
    return 0


def main(argv: Sequence[str]) -> int:
    """Runs the server; returns the exit code: 0 after a signal, 1 if it could not start."""
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    try:
        options = parse(argv)
    except BadArgumentError as error:
        return _refuse(str(error))
    if "model" not in {option.name for option, _ in options}:
        return _refuse('error while handling argument "--model": a model is required')
    try:
        wheel = importlib.import_module("xllamacpp")
    except ImportError as error:
        return _refuse(f"error: the xllamacpp wheel cannot be loaded: {error}")
    params = wheel.CommonParams()
    try:
        apply(wheel, params, options)
        return serve(lambda: wheel.Server(params))
    except BadArgumentError as error:
        return _refuse(str(error))
    except RuntimeError as error:
        return _refuse(f"error: {error}")


def _refuse(line: str) -> int:
    sys.stderr.write(line + "\n")
    return 1


def _run() -> NoReturn:
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _run()
