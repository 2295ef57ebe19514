"""Tuned environment variables: parameters named ``env.NAME``.

Search, constraints, reports and exports treat them like other parameters. Only :meth:`Engine.launch` separates them
from the flags.
"""

import re
from collections.abc import Iterable, Mapping

from autotuner.study.base import Value, number_text, parts_of
from autotuner.study.parameters.parameter import Parameter

PREFIX = "env."
LABEL_PREFIX = "AUTOTUNER_"
"""Prefix of the variables that identify a run; see :class:`autotuner.study.launch.Labels`."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MANAGED = frozenset(
    {
        "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES", "HF_HOME",
    }
)  # fmt: skip
"""Variables that deployers set: the GPUs that a trial leases, and the folder of the Hub's cache."""


def is_variable(name: str) -> bool:
    """Whether a parameter is an environment variable."""
    return name.startswith(PREFIX)


def canonical_variable(name: str) -> str:
    """The canonical spelling: constraints have hyphens in place of underscores, variables have no hyphens."""
    return PREFIX + name.removeprefix(PREFIX).replace("-", "_")


def variable_of(name: str) -> str:
    """The variable's name: ``OMP_NUM_THREADS`` for ``env.OMP_NUM_THREADS``."""
    return name.removeprefix(PREFIX)


def tuned_variables(parameters: Iterable[Parameter]) -> tuple[str, ...]:
    """Names of the environment variables among a study's parameters."""
    names = (flag for p in parameters for flag in p.flags)
    return tuple(dict.fromkeys(variable_of(name) for name in names if is_variable(name)))


def flags_in(values: Mapping[str, Value]) -> dict[str, Value]:
    """The values of flags."""
    return {name: value for name, value in values.items() if not is_variable(name)}


def variables_in(values: Mapping[str, Value]) -> dict[str, str | None]:
    """The values of variables as text, by variable name; None for one that is left out."""
    return {variable_of(n): variable_text(v) for n, v in values.items() if is_variable(n)}


def variable_text(value: Value) -> str | None:
    """A value as a process sees it: ``true``, ``0.5``; None if it is left out."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return number_text(value)
    return " ".join(map(str, parts_of(value)))


def name_problem(name: str) -> tuple[str, str] | None:
    """Why no study can set a variable of this name, and the remedy; None if it can."""
    if not _NAME.fullmatch(name):
        return "not an environment variable's name", "use letters, digits and underscores, e.g. OMP_NUM_THREADS"
    if name in {"AUTOTUNER_STUDY", "AUTOTUNER_TRIAL", "AUTOTUNER_OWNER", "AUTOTUNER_PROCESS"}:
        return "is managed by autotuner and cannot be set", "remove it"
    return None


def tuned_name_problem(name: str) -> tuple[str, str] | None:
    """Why a variable of this name cannot be tuned, and the remedy; None if it can."""
    if name in _MANAGED:
        return "is managed by autotuner and cannot be tuned", "remove it; deploy.gpu_ids names the GPUs to use"
    if name.startswith(LABEL_PREFIX):
        return "is managed by autotuner and cannot be tuned", "remove it"
    return name_problem(name)
