"""GPUs of this machine through NVML, NVIDIA's management library: models, processes that use them, and sensors.

Nothing here raises. Without a driver there are no GPUs, a GPU that fell off the bus is left out, and a sensor that a
GPU lacks is None; :meth:`Nvml.describe` reports each of these.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from threading import Lock
from typing import Any, TypeVar

import pynvml
from anyio.to_thread import run_sync

from autotuner.deployers.local import procfs
from autotuner.study.check import Check
from autotuner.study.launch import Gpu, GpuSample

T = TypeVar("T")
logger = logging.getLogger(__name__)

_GIB = 2**30
_RETRY_S = 10.0
"""Shortest time between two attempts to load a missing driver."""
_UNSEEN_GIB = 2.0
"""More memory in use than on an idle GPU, without a visible process: a process in another container uses it."""
_DISPLAY_GIB = 1.0
"""A graphics process that uses less is a desktop, beside which the GPU is usable."""
_OWNER = "AUTOTUNER_OWNER"

_NVML_GONE = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    }
)
"""Errors after which NVML must be opened again."""
_GPU_GONE = _NVML_GONE | {pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED}
_REASONS = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no NVIDIA driver is installed (libnvidia-ml.so.1 was not found)",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the NVIDIA driver was replaced while loaded",
    pynvml.NVML_ERROR_NO_PERMISSION: "this user has no permission to use the NVIDIA driver",
    pynvml.NVML_ERROR_GPU_IS_LOST: "it fell off the bus",
    pynvml.NVML_ERROR_RESET_REQUIRED: "it must be reset",
}
_REMEDIES = {
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "restart the machine, or reload the driver",
    pynvml.NVML_ERROR_GPU_IS_LOST: "restart the machine",
    pynvml.NVML_ERROR_RESET_REQUIRED: "reset the GPU: nvidia-smi --gpu-reset",
}
_MIG_REMEDY = "disable MIG mode to use the GPU: nvidia-smi -mig 0"


@dataclass(frozen=True)
class Seen:
    """A snapshot of the machine."""

    gpus: tuple[Gpu, ...] = ()
    left_out: tuple[str, ...] = ()
    """Unusable GPUs, each with its reason."""
    remedies: tuple[str, ...] = ()
    """How to make them usable; each once."""
    driver: str = ""
    why_none: str = ""
    """Why NVML cannot be used; empty if it can."""

    def cuda_environment(self, chosen: Sequence[Gpu]) -> dict[str, str]:
        """Environment variables that make exactly these GPUs visible to a process.

        By index, since vLLM reads each entry as a number (vLLM issues 13815 and 41848). By UUID if a GPU is left out,
        since CUDA may then number GPUs differently from NVML.
        """
        names = [gpu.uuid if self.left_out else str(gpu.index) for gpu in chosen]
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(names)}


class Nvml:
    """One deployer's connection to NVML: opened on first use, and again after the driver went away.

    It stays open until the process ends, since opening it would disturb a measured window. NVML counts how often it was
    opened, so that several deployers in a process do not interfere.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._open = False
        self._why = ""
        self._tried = float("-inf")

    async def gpus(self) -> list[Gpu]:
        """The usable GPUs in NVML's order, which is the order on the PCI bus, with the foreign processes that use
        them."""
        return list((await run_sync(self.look)).gpus)

    async def samples(self, gpus: Sequence[Gpu]) -> list[GpuSample]:
        """The current sensor values of these GPUs. A GPU that no longer answers has no sample."""
        return await run_sync(self._samples, tuple(gpus)) if gpus else []

    def describe(self) -> Check:
        """A check with the driver and the GPUs, or the reason why there are none."""
        seen = self.look()
        if seen.why_none:
            return Check.ok("gpus", f"none: {seen.why_none}")
        kinds: dict[str, int] = {}
        for gpu in seen.gpus:
            kind = f"{gpu.name or 'GPU'} ({gpu.memory_gb:.0f} GiB)"
            kinds[kind] = kinds.get(kind, 0) + 1
        found = ", ".join(f"{count} x {kind}" for kind, count in kinds.items()) or "none"
        detail = "; ".join([f"{found}, driver {seen.driver or 'unknown'}", *seen.left_out])
        if not seen.left_out:
            return Check.ok("gpus", detail)
        return Check.warn("gpus", detail, remedy="; ".join(seen.remedies))

    def look(self) -> Seen:
        """A snapshot of all GPUs. Blocks for milliseconds."""
        why = self._opened()
        if why:
            return Seen(why_none=why)
        try:
            count = pynvml.nvmlDeviceGetCount()
            driver = _first(pynvml.nvmlSystemGetDriverVersion) or ""
        except pynvml.NVMLError as error:
            return Seen(why_none=self._failed(error))
        found: list[Gpu] = []
        left_out: list[str] = []
        remedies: list[str] = []
        for index in range(count):
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                if _is_split(handle):
                    left_out.append(f"GPU {index} is split into MIG devices, which cannot be leased")
                    remedies.append(_MIG_REMEDY)
                else:
                    found.append(_gpu(index, handle))
            except pynvml.NVMLError as error:
                left_out.append(f"GPU {index} cannot be used: {_reason(error)}")
                remedies += [_REMEDIES[error.value]] if error.value in _REMEDIES else []
        unique = tuple(dict.fromkeys(remedies))
        return Seen(gpus=tuple(found), left_out=tuple(left_out), remedies=unique, driver=driver)

    def _samples(self, gpus: Sequence[Gpu]) -> list[GpuSample]:
        found: list[GpuSample] = []
        if self._opened():
            return found
        for gpu in gpus:
            try:
                found.append(_sample(gpu))
            except pynvml.NVMLError as error:
                if error.value in _NVML_GONE:
                    self._failed(error)
                    return []
        return found

    def _opened(self) -> str:
        """Why NVML cannot be used; empty when it can."""
        with self._lock:
            if not self._open and time.monotonic() - self._tried >= _RETRY_S:
                self._tried = time.monotonic()
                try:
                    pynvml.nvmlInit()
                except pynvml.NVMLError as error:
                    self._why = _reason(error)
                else:
                    self._open = True
                    self._why = ""
                logger.debug("NVML: %s", self._why or "opened")
            return "" if self._open else self._why

    def _failed(self, error: Any) -> str:
        """Closes NVML, which stopped answering, so that the next use opens it again. Returns the reason."""
        with self._lock, suppress(pynvml.NVMLError):
            self._open = False
            self._why = _reason(error)
            self._tried = float("-inf")
            logger.info("NVML stopped answering: %s", self._why)
            pynvml.nvmlShutdown()
        return self._why


def _reason(error: Any) -> str:
    return _REASONS.get(error.value) or f"NVML error: {error}"


def _gpu(index: int, handle: Any) -> Gpu:
    memory = _memory(handle)
    used = memory.used / _GIB if memory else 0.0
    return Gpu(
        index=index,
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        name=_first(lambda: pynvml.nvmlDeviceGetName(handle)) or "",
        memory_gb=round(memory.total / _GIB, 2) if memory else 0.0,
        used_gb=round(used, 2),
        users=_users(handle, used),
    )


def _memory(handle: Any) -> Any:
    """NVML's structure with ``total`` and ``used`` in bytes; None for a GPU without memory of its own."""
    return _first(
        lambda: pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2),
        lambda: pynvml.nvmlDeviceGetMemoryInfo(handle),
    )


def _is_split(handle: Any) -> bool:
    modes: list[int] = _first(lambda: pynvml.nvmlDeviceGetMigMode(handle)) or []
    return modes[:1] == [pynvml.NVML_DEVICE_MIG_ENABLE]


def _users(handle: Any, used: float) -> tuple[str, ...]:
    compute = _processes(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle))
    drawing = _processes(lambda: pynvml.nvmlDeviceGetGraphicsRunningProcesses(handle))
    if not compute and not drawing and used > _UNSEEN_GIB:
        return (f"a process that is not visible here, {used:.1f} GiB",)
    desktop = {pid for pid, size in drawing.items() if pid not in compute and (size or 0) < _DISPLAY_GIB * _GIB}
    foreign = {pid: size for pid, size in (drawing | compute).items() if pid not in desktop and not _is_ours(pid)}
    return tuple(_user_text(pid, size) for pid, size in sorted(foreign.items()))


def _processes(read: Callable[[], Any]) -> dict[int, int | None]:
    """Bytes on the GPU by process id."""
    return {p.pid: p.usedGpuMemory for p in _first(read) or ()}


def _user_text(pid: int, size: int | None) -> str:
    name = procfs.name(pid) or _first(lambda: pynvml.nvmlSystemGetProcessName(pid)) or "process"
    shown = "".join(c for c in PurePath(name.split()[0]).name if c.isprintable())[:40]
    return f"{shown} (pid {pid})" + (f", {size / _GIB:.1f} GiB" if size is not None else "")


def _is_ours(pid: int) -> bool:
    """Whether autotuner started it: the process, its session leader or an ancestor carries the label. Servers may
    overwrite their environment with a title, so descendants of this process in other sessions count too."""
    target = procfs.stat(pid)
    here = procfs.stat(os.getpid())
    current = target
    for _ in range(100):
        if current is None or current.pid <= 1:
            return False
        if current.pid == os.getpid():
            return target is not None and here is not None and target.session != here.session
        if _OWNER in procfs.environ(current.pid) or _OWNER in procfs.environ(current.session):
            return True
        current = procfs.stat(current.parent)
    return False


def _sample(gpu: Gpu) -> GpuSample:
    handle = pynvml.nvmlDeviceGetHandleByUUID(gpu.uuid)
    memory = _memory(handle)
    busy = _first(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle))
    return GpuSample(
        at=time.time(),
        index=gpu.index,
        utilization=None if busy is None else busy.gpu / 100,
        memory_gb=None if memory is None else memory.used / _GIB,
        power_w=_scaled(_first(lambda: pynvml.nvmlDeviceGetPowerUsage(handle)), 1000),
        temperature_c=_scaled(
            _first(
                lambda: pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU),
                lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
            )
        ),
        clock_mhz=_scaled(_first(lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM))),
        energy_j=_scaled(_first(lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)), 1000),
    )


def _scaled(value: int | None, divisor: int = 1) -> float | None:
    return None if value is None else value / divisor


def _first(*reads: Callable[[], T]) -> T | None:
    """Result of the first call that driver and GPU support; None if they support none. Raises ``NVMLError`` if the GPU
    or the driver is gone."""
    for read in reads:
        try:
            return read()
        except pynvml.NVMLError as error:
            if error.value in _GPU_GONE:
                raise
    return None
