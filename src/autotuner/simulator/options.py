"""Command lines: the simulator's own options in front, then the engine's, refused and accepted as argparse does.

The engines' flags are tables beside this module, one line a flag: spellings, kind, choices. Their defaults are not in
them: what was given can so be told from what was not.
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
"""Prefix of environment variables that give the own options where a command line has no place for them."""
_SI = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_IEC = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class Simulation:
    """What is simulated."""

    flavor: Flavor = "sglang"
    gpu: str = "H100"
    gpu_count: int = 1
    shape: str = ""
    """Name of a known model; empty: found from the model's path or name."""
    speed: float = 1.0
    """Time factor: 1 is as predicted, 0.1 ten times slower, 10 ten times faster."""
    start_s: float = 0.0
    """Seconds before the server answers as healthy."""
    noise: float = 0.0
    """Standard deviation of a step's time, as a share of it; seeded."""


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
    """The simulator's options (those leading ``argv``, else of the environment), and the engine's arguments.

    Raises ``ValueError`` in one line.
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
        raise ValueError("--speed and --gpu-count must be above 0, --start-s and --noise not below it")
    return simulation, rest


def _visible_gpus(environ: Mapping[str, str]) -> int:
    """As many as a container was given; 1 where that is not told."""
    given = environ.get("NVIDIA_VISIBLE_DEVICES", "")
    return 1 if given in {"", "all", "none", "void"} else len(given.split(","))


def _value(where: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{where} {text}: is no {kind.__name__}") from None


class FlagRow(NamedTuple):
    """One flag of an engine."""

    spellings: tuple[str, ...]
    kind: str
    """int, float, str, human (1k, 2Ki), switch, onoff (``--no-`` spelling too), list or optional."""
    choices: tuple[str, ...]

    @property
    def dest(self) -> str:
        """The name of its value."""
        return self.spellings[0].lstrip("-").replace("-", "_")


def flag_table(flavor: Flavor) -> list[FlagRow]:
    """All flags of the engine's server."""
    text = files("autotuner.simulator").joinpath("flags", f"{flavor}.txt").read_text(encoding="utf-8")
    rows = []
    for line in text.splitlines()[1:]:
        spellings, kind, *choices = line.split(" ", 2)
        rows.append(FlagRow(tuple(spellings.split(",")), kind, tuple(choices[0].split(",")) if choices else ()))
    return rows


def human_int(text: str) -> int:
    """``4096``, ``4k``, ``1.5M``, ``2Ki``; vLLM also takes ``1K`` for 1024."""
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
    """argparse with every flag of the engine; what is not given is not in its namespace."""
    parser = argparse.ArgumentParser(prog="sglang serve" if flavor == "sglang" else "vllm serve")
    if flavor == "vllm":
        parser.add_argument("model_tag", nargs="?", default=argparse.SUPPRESS)
    for row in flag_table(flavor):
        _add(parser, row)
    return parser


def engine_options(flavor: Flavor, argv: Sequence[str]) -> dict[str, Any]:
    """What was given, by name. Ends the process with argparse's words and code 2 on what the engine refuses."""
    if flavor == "vllm":
        argv = [re.sub(r"^--[^=]+", lambda m: m[0].replace("_", "-"), a) if a.startswith("--") else a for a in argv]
    parser = engine_parser(flavor)
    given = vars(parser.parse_args(argv))
    if flavor == "sglang" and "model_path" not in given:
        parser.error("the following arguments are required: --model-path/--model")
    return given
