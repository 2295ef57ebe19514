"""Planning for GPUs that the target lacks: as if it had them, with a failed check."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from autotuner.errors import Problem, UsageError
from autotuner.plugins.engine import Engine
from autotuner.study.base import Value, value_text
from autotuner.study.check import Check
from autotuner.study.launch import Hardware
from autotuner.study.parameters.environment import flags_in, is_variable
from autotuner.study.parameters.parameter import Parameter, as_flags
from autotuner.study.parameters.portable import is_portable
from autotuner.study.parameters.reference import reference_word

_LOOKED_AT = 1000
"""Most values of one parameter whose GPUs are counted."""

NOTHING_STATED: Mapping[str, Value] = MappingProxyType({})
"""The baseline of a study that compares with the default."""


@dataclass(frozen=True)
class Needs:
    """GPUs that a study needs."""

    default: int
    """GPUs of the default, or of the study's baseline."""
    least: int
    """GPUs of the smallest configuration."""
    most: int
    """GPUs of the largest configuration."""


def needed_gpus(
    engine: Engine,
    fixed: Mapping[str, Value],
    parameters: Sequence[Parameter],
    baseline: Mapping[str, Value] = NOTHING_STATED,
    *,
    priced: bool = False,
) -> Needs:
    """The GPUs that a study needs, or with ``priced``, those that it pays for. Degrees of parallelism multiply, so the
    largest value of each parameter together gives the largest configuration, and likewise for the smallest."""
    if not all(_sound(engine, name, value) for name, value in fixed.items()):
        return Needs(0, 0, 0)
    own = _gpus(engine, fixed, priced)
    smallest = dict(fixed)
    largest = dict(fixed)
    for parameter in parameters:
        points = [point for _, point in _sound_points(engine, parameter)]
        if parameter.when:
            points.append({})
        counts = {i: _gpus(engine, {**fixed, **point}, priced) for i, point in enumerate(points)}
        usable = {i: count for i, count in counts.items() if count is not None}
        if len(set(usable.values())) > 1 or set(usable.values()) - {own}:
            smallest |= points[min(usable, key=usable.__getitem__)]
            largest |= points[max(usable, key=usable.__getitem__)]
    stated = flags_in(as_flags(parameters, baseline))
    known = all(_sound(engine, name, value) for name, value in stated.items())
    default = (_gpus(engine, {**fixed, **stated}, priced) if known else own) or 0
    least, most = (_gpus(engine, values, priced) for values in (smallest, largest))
    return Needs(default, default if least is None else least, max(default, most or 0))


def _sound_points(engine: Engine, parameter: Parameter) -> Iterator[tuple[Value, Mapping[str, Value]]]:
    """The parameter's first values, each with the flags that it sets, if the engine accepts these."""
    for value in (parameter.domain.grid() or ())[:_LOOKED_AT]:
        point = flags_in(parameter.set_by(value))
        if not is_variable(parameter.name) and all(_sound(engine, flag, v) for flag, v in point.items()):
            yield value, point


def _sound(engine: Engine, name: str, value: Value) -> bool:
    """Whether the engine accepts the value, so that its GPUs can be counted; other checks report what it refuses."""
    return is_portable(name) or not (is_variable(name) or engine.check_value(name, value))


def _gpus(engine: Engine, values: Mapping[str, Value], priced: bool = False) -> int | None:
    try:
        return (engine.priced_gpus if priced else engine.gpus)(engine.expand(values))
    except UsageError:  # these values cannot be combined; other checks report it
        return None


def with_missing_gpus(
    engine: Engine,
    fixed: Mapping[str, Value],
    parameters: Sequence[Parameter],
    hardware: Hardware,
    baseline: Mapping[str, Value] = NOTHING_STATED,
) -> tuple[Hardware, Check | None]:
    """The hardware to plan with and the failed check. If not even the default fits the target, or no tuned
    configuration does, the plan assumes as many GPUs as the study can use."""
    needs = needed_gpus(engine, fixed, parameters, baseline)
    available = hardware.gpus
    if max(needs.default, needs.least) <= available:
        return hardware, None
    reference = f"the {reference_word(baseline)}"
    who, count = (reference, needs.default) if needs.default > available else ("every configuration", needs.least)
    up_to = f" (up to {needs.most} in the space)" if needs.most > count else ""
    reason = f": {hardware.no_gpus}" if hardware.no_gpus else ""
    needed = f"{count} GPU{'s' if count > 1 else ''}{up_to}"
    found = f"only {available}" if available else "none"
    check = Check.fail(
        "gpus",
        f"{who} needs {needed}; {found} available{reason}; planned as if {needs.most} were",
        remedy=f"{hardware.no_gpus_remedy or 'run on a machine with GPUs'}, or try the study with --simulate H100x8",
    )
    return hardware.replaced(gpus=needs.most), check


def too_large(
    engine: Engine, fixed: Mapping[str, Value], parameters: Sequence[Parameter], gpus: int
) -> Iterator[Problem]:
    """Warnings about values of the engine's own flags that need too many GPUs, whatever else is tuned."""
    for parameter in (p for p in parameters if not is_portable(p.name)):
        for value, point in _sound_points(engine, parameter):
            needed = _gpus(engine, {**fixed, **point}) or 0
            if needed > gpus:
                why = f"{parameter.name} {value_text(value)} needs {needed} GPUs; only {gpus} available: not launched"
                yield Problem(where=f"parameters.{parameter.name}", why=why)
