"""Command lines of the simulator: its own options first, then the engine's, parsed by argparse.

The flags of the engines are in tables next to this module, one line per flag: spellings, kind, choices. The tables have
no defaults, so that flags that were given can be distinguished from those that were not.
"""

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, NamedTuple

Flavor = Literal["sglang", "vllm"]
FLAVORS: tuple[Flavor, ...] = ("sglang", "vllm")
ENVIRONMENT = "AUTOTUNER_SIMULATED_"
"""Prefix of environment variables for the simulator's own options, for command lines that cannot contain them."""
_SI = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_IEC = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class Simulation:
    """The simulated hardware and model."""

    flavor: Flavor = "sglang"
    gpu: str = "H100"
    gpu_count: int = 1
    shape: str = ""
    """Name of a known model shape; if empty, it is derived from the model's path or name."""
    speed: float = 1.0
    """Speed factor: 1 as predicted, 0.1 ten times slower, 10 ten times faster."""
    start_s: float = 0.0
    """Seconds until the server is healthy."""
    noise: float = 0.0
    """Relative standard deviation of step times; seeded."""


_OWN: Mapping[str, tuple[str, type]] = {
    "--flavor": ("flavor", str),
    "--gpu": ("gpu", str),
    "--gpu-count": ("gpu_count", int),
    "--shape": ("shape", str),
    "--speed": ("speed", float),
    "--start-s": ("start_s", float),
    "--noise": ("noise", float),
}


def own_options(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> tuple[Simulation, list[str]]:
    """Splits a command line into the simulator's options and the engine's arguments.

    Args:
        argv: The simulator's options, followed by the engine's arguments.
        environ: Provides the options that ``argv`` does not contain.

    Raises:
        ValueError: An option has no value or an invalid one; one line.
    """
    found: dict[str, Any] = {"gpu_count": _visible_gpus(environ)}
    for name, kind in _OWN.values():
        text = environ.get(ENVIRONMENT + name.upper())
        if text:
            found[name] = _value(ENVIRONMENT + name.upper(), text, kind)
    rest = list(argv)
    while rest and rest[0].partition("=")[0] in _OWN:
        spelling, equals, text = rest.pop(0).partition("=")
        if not equals:
            if not rest:
                raise ValueError(f"{spelling}: expected a value")
            text = rest.pop(0)
        name, kind = _OWN[spelling]
        found[name] = _value(spelling, text, kind)
    simulation = Simulation(**found)
    if simulation.flavor not in FLAVORS:
        raise ValueError(f"--flavor {simulation.flavor}: must be one of {', '.join(FLAVORS)}")
    if not (simulation.speed > 0 and simulation.gpu_count > 0 and simulation.start_s >= 0 and simulation.noise >= 0):
        raise ValueError("--speed and --gpu-count must be above 0, --start-s and --noise must not be negative")
    return simulation, rest


def _visible_gpus(environ: Mapping[str, str]) -> int:
    """GPUs that a container was given; 1 if unknown."""
    given = environ.get("NVIDIA_VISIBLE_DEVICES", "")
    return 1 if given in {"", "all", "none", "void"} else len(given.split(","))


def _value(where: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{where} {text}: is not a valid {kind.__name__}") from None


class FlagRow(NamedTuple):
    """One flag of an engine."""

    spellings: tuple[str, ...]
    kind: str
    """int, float, str, human (1k, 2Ki), switch, onoff (with a ``--no-`` spelling), list or optional."""
    choices: tuple[str, ...]

    @property
    def dest(self) -> str:
        """The attribute in argparse's namespace."""
        return self.spellings[0].lstrip("-").replace("-", "_")


def flag_table(flavor: Flavor) -> list[FlagRow]:
    """All flags of the engine."""
    text = files("autotuner.simulator").joinpath("flags", f"{flavor}.txt").read_text(encoding="utf-8")
    rows = []
    for line in text.splitlines()[1:]:
        spellings, kind, *choices = line.split(" ", 2)
        rows.append(FlagRow(tuple(spellings.split(",")), kind, tuple(choices[0].split(",")) if choices else ()))
    return rows


def human_int(text: str) -> int:
    """Parses ``4096``, ``4k``, ``1.5M``, ``2Ki``; as in vLLM, ``1K`` is 1024."""
    match = re.fullmatch(r"(-?\d+(?:\.\d+)?)(k|m|g|t|K|M|G|T)?(i)?", text.strip())
    if not match or (match[3] and not match[2]):
        raise argparse.ArgumentTypeError(f"invalid integer: {text!r}")
    number = match[1]
    suffix = match[2]
    binary = match[3]
    if suffix is None:
        return int(number)
    scale = _IEC[suffix.upper()] if binary or suffix == "K" else _SI[suffix.lower()]
    return int(float(number) * scale)


_TYPES: Mapping[str, Any] = {"int": int, "float": float, "human": human_int}


def _add(parser: argparse.ArgumentParser, row: FlagRow) -> None:
    given: dict[str, Any] = {"dest": row.dest, "default": argparse.SUPPRESS}
    if row.kind == "switch":
        given["action"] = "store_true"
    elif row.kind == "onoff":
        given["action"] = argparse.BooleanOptionalAction
    else:
        given["type"] = kind = _TYPES.get(row.kind, str)
        if row.choices:
            given["choices"] = tuple(kind(choice) for choice in row.choices)
        if row.kind in {"list", "optional"}:
            given["nargs"] = "*" if row.kind == "list" else "?"
    parser.add_argument(*row.spellings, **given)


def engine_parser(flavor: Flavor) -> argparse.ArgumentParser:
    """A parser with every flag of the engine. Flags that are not given are not in its namespace."""
    parser = argparse.ArgumentParser(prog="sglang serve" if flavor == "sglang" else "vllm serve")
    if flavor == "vllm":
        parser.add_argument("model_tag", nargs="?", default=argparse.SUPPRESS)
    for row in flag_table(flavor):
        _add(parser, row)
    return parser


def engine_options(flavor: Flavor, argv: Sequence[str]) -> dict[str, Any]:
    """The flags that were given, by name. On errors, argparse exits with code 2, as in the engine."""
    if flavor == "vllm":
        argv = [re.sub(r"^--[^=]+", lambda m: m[0].replace("_", "-"), a) if a.startswith("--") else a for a in argv]
    parser = engine_parser(flavor)
    given = vars(parser.parse_args(argv))
    if flavor == "sglang" and "model_path" not in given:
        parser.error("the following arguments are required: --model-path/--model")
    return given
