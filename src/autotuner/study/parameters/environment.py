"""Environment variables that are tuned: parameters named ``env.NAME``, beside those that are an engine's flags.

Everywhere a configuration goes (search, constraints, reports, exports) they are parameters like others. Only where a
launch is made are they taken apart from the flags (:meth:`Engine.launch`).
"""

import re
from collections.abc import Iterable, Mapping

from autotuner.study.base import Value, number_text, parts_of
from autotuner.study.parameters.parameter import Parameter

PREFIX = "env."
LABEL_PREFIX = "AUTOTUNER_"
"""What a run is found by; see :class:`autotuner.study.launch.Labels`."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MANAGED = frozenset(
    {
        "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES", "HF_HOME",
    }
)  # fmt: skip
"""Set from the GPUs that a trial leases, and from where a deployer keeps the hub's cache."""


def is_variable(name: str) -> bool:
    """Whether a parameter is an environment variable."""
    return name.startswith(PREFIX)


def canonical_variable(name: str) -> str:
    """The parameter's one spelling. Constraints write hyphens for underscores; variables have no hyphens."""
    return PREFIX + name.removeprefix(PREFIX).replace("-", "_")


def variable_of(name: str) -> str:
    """``OMP_NUM_THREADS`` of ``env.OMP_NUM_THREADS``."""
    return name.removeprefix(PREFIX)


def tuned_variables(parameters: Iterable[Parameter]) -> tuple[str, ...]:
    """The variables among a study's parameters."""
    return tuple(variable_of(p.name) for p in parameters if is_variable(p.name))


def flags_in(values: Mapping[str, Value]) -> dict[str, Value]:
    """The values that are not variables."""
    return {name: value for name, value in values.items() if not is_variable(name)}


def variables_in(values: Mapping[str, Value]) -> dict[str, str | None]:
    """The variables among these values, as text; None for one that is left out."""
    return {variable_of(n): variable_text(v) for n, v in values.items() if is_variable(n)}


def variable_text(value: Value) -> str | None:
    """A value as a process sees it: ``true`` and ``0.5`` as they are written in a file."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return number_text(value)
    return " ".join(map(str, parts_of(value)))


def name_problem(name: str) -> tuple[str, str] | None:
    """Why a variable of this name cannot be set in any study: (why, remedy)."""
    if not _NAME.fullmatch(name):
        return "not an environment variable's name", "use letters, digits and underscores, e.g. OMP_NUM_THREADS"
    if name in {"AUTOTUNER_STUDY", "AUTOTUNER_TRIAL", "AUTOTUNER_OWNER", "AUTOTUNER_PROCESS"}:
        return "is managed by autotuner and cannot be set", "remove it"
    return None


def tuned_name_problem(name: str) -> tuple[str, str] | None:
    """Why a variable of this name cannot be tuned."""
    if name in _MANAGED:
        return "is managed by autotuner and cannot be tuned", "remove it; deploy.gpu_ids names the GPUs to use"
    if name.startswith(LABEL_PREFIX):
        return "is managed by autotuner and cannot be tuned", "remove it"
    return name_problem(name)
