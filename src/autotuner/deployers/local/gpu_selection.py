"""GPUs of this machine that a study may use: those that it lists, otherwise those that this process may use."""

from collections.abc import Mapping, Sequence

from autotuner.deployers.local.nvml import Seen
from autotuner.errors import Problem
from autotuner.study.check import Check
from autotuner.study.launch import Gpu, Hardware, LaunchPlan

VISIBLE = "CUDA_VISIBLE_DEVICES"


def chosen(gpus: Sequence[Gpu], ids: Sequence[int | str] | None, environ: Mapping[str, str]) -> list[Gpu]:
    """The GPUs with these indices or UUIDs, in the machine's order; unknown ids are skipped.

    Without ids, those in ``CUDA_VISIBLE_DEVICES`` (which schedulers such as Slurm set), or all if it is not set.
    """
    if ids is not None:
        return [gpu for gpu in gpus if gpu.index in ids or gpu.uuid in ids]
    given = environ.get(VISIBLE)
    return list(gpus) if given is None else _visible(gpus, given)


def _visible(gpus: Sequence[Gpu], given: str) -> list[Gpu]:
    """As CUDA reads the variable: indices or prefixes of UUIDs, up to the first that matches no GPU."""
    found: set[str] = set()
    for word in (w.strip() for w in given.split(",")):
        match = [
            g.uuid for g in gpus if (word.isdigit() and g.index == int(word)) or (word and g.uuid.startswith(word))
        ]
        if len(match) != 1:
            break
        found.update(match)
    return [gpu for gpu in gpus if gpu.uuid in found]


def unknown(seen: Seen, ids: Sequence[int | str]) -> list[Problem]:
    """One problem for every id that does not match a usable GPU."""
    known = ", ".join(f"{gpu.index} ({gpu.uuid})" for gpu in seen.gpus)
    why = "; ".join(["is not a usable GPU of this machine", *([seen.why_none] if seen.why_none else seen.left_out)])
    remedy = f"choose from {known}" if known else "remove deploy.gpu_ids"
    names = {gpu.index for gpu in seen.gpus} | {gpu.uuid for gpu in seen.gpus}
    return [
        Problem(where=f"deploy.gpu_ids[{index}]", value=str(name), why=why, remedy=remedy)
        for index, name in enumerate(ids)
        if name not in names
    ]


def with_gpus(hardware: Hardware, gpus: Sequence[Gpu]) -> Hardware:
    """The hardware with these GPUs."""
    names = {gpu.name for gpu in gpus}
    return hardware.model_copy(
        update={
            "gpus": len(gpus),
            "gpu_memory_gb": min((gpu.memory_gb for gpu in gpus), default=0.0),
            "gpu_name": names.pop() if len(names) == 1 else "",
        }
    )


def checks(described: Check, usable: Sequence[Gpu], plans: Sequence[LaunchPlan]) -> list[Check]:
    """Whether there are enough GPUs for the plans. Plans without GPUs never fail."""
    needed = max((plan.gpus for plan in plans), default=0)
    found = [described]
    if needed > len(usable):
        detail = f"{needed} needed, {len(usable)} usable ({described.detail})"
        remedy = "lower the parallelism, or use a machine with more GPUs"
        found = [Check.fail("gpus", detail, remedy=remedy)]
    if needed and any(VISIBLE in plan.env for plan in plans):
        detail = f"engine.env sets {VISIBLE}, which is replaced by the GPUs that each trial leases"
        found.append(Check.warn("gpus", detail, remedy="list the GPUs in deploy.gpu_ids"))
    return found
