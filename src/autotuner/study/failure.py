"""Failures of trials: named causes, who has to act, and evidence. A failure is never turned into a number."""

from collections.abc import Sequence
from enum import StrEnum

from autotuner.errors import EnvironmentFaultError
from autotuner.study.base import FrozenModel, Value, value_text

SEARCHED_LOG_LINES = 400
"""Lines at the end of a log that are searched for a cause: tracebacks of several processes may follow it."""
KEPT_LOG_LINES = 40
"""Lines of the log that are stored with a failure."""


class Blame(StrEnum):
    """What is at fault."""

    CONFIGURATION = "configuration"
    """This configuration cannot work. That is a result: the search learns that it is infeasible."""
    ENVIRONMENT = "environment"
    """The machine is at fault. The trial does not count and is repeated; the study stops if the fault persists."""
    MEASUREMENT = "measurement"
    """The server ran, but its measurement must not be ranked."""
    TUNER = "tuner"
    """A defect of the tuner itself."""


class FailureCause(StrEnum):
    """Named causes of failures. The values are stored and shown."""

    INVALID_FLAG = "invalid_flag"
    INVALID_VALUE = "invalid_value"
    OUT_OF_MEMORY = "out_of_memory"
    """Out of memory on the CPU. GPUs have two causes of their own, because their remedies are opposite."""
    GPU_OUT_OF_MEMORY_LOADING = "gpu_out_of_memory_loading"
    """Weights and cache did not fit; a larger static fraction or more GPUs help."""
    GPU_OUT_OF_MEMORY_RUNNING = "gpu_out_of_memory_running"
    """No memory was left for activations; a smaller static fraction helps."""
    HOST_OUT_OF_MEMORY = "host_out_of_memory"
    """The kernel killed the server for lack of memory on the host or in its container."""
    KV_CACHE_TOO_SMALL = "kv_cache_too_small"
    UNSUPPORTED_GPU = "unsupported_gpu"
    """This GPU does not support a requested data type or kernel."""
    UNSUPPORTED_COMBINATION = "unsupported_combination"
    """The engine rejects the combination of values, or a value for this model."""
    NCCL = "nccl"
    START_TIMEOUT = "start_timeout"
    CRASH_LOADING = "crash_loading"
    CRASH_UNDER_LOAD = "crash_under_load"
    NOT_ANSWERING = "not_answering"
    TRIAL_TIMEOUT = "trial_timeout"
    CLIENT_LIMITED = "client_limited"
    BENCHMARK_FAILED = "benchmark_failed"
    IDENTITY_CHANGED = "identity_changed"
    VALUE_NOT_APPLIED = "value_not_applied"
    NO_BINARY = "no_binary"
    MODEL_MISSING = "model_missing"
    MODEL_GATED = "model_gated"
    """The Hub requires a token, or a license that has not been accepted."""
    IMAGE_MISSING = "image_missing"
    PACKAGE_MISSING = "package_missing"
    """A package or shared library that the server needs is missing or broken."""
    DRIVER_MISMATCH = "driver_mismatch"
    """The GPU's driver is incompatible with the server's CUDA."""
    WORLD_CHANGED = "world_changed"
    """The model, the server or the machine has changed since the study's other trials."""
    GPU_UNAVAILABLE = "gpu_unavailable"
    """No GPU is available, because of its driver, the container runtime or other users."""
    NOT_ACCEPTED = "not_accepted"
    """The platform rejects the server's object, whatever is tuned."""
    DEPLOYER_LOST = "deployer_lost"
    """The container engine or the cluster stopped answering."""
    PORT_UNAVAILABLE = "port_unavailable"
    DISK_FULL = "disk_full"
    ENVIRONMENT = "environment"


_BLAME = {
    FailureCause.CLIENT_LIMITED: Blame.MEASUREMENT,
    FailureCause.BENCHMARK_FAILED: Blame.ENVIRONMENT,
    FailureCause.IDENTITY_CHANGED: Blame.ENVIRONMENT,
    FailureCause.VALUE_NOT_APPLIED: Blame.TUNER,
    FailureCause.NCCL: Blame.ENVIRONMENT,
    FailureCause.MODEL_GATED: Blame.ENVIRONMENT,
    FailureCause.IMAGE_MISSING: Blame.ENVIRONMENT,
    FailureCause.PACKAGE_MISSING: Blame.ENVIRONMENT,
    FailureCause.DRIVER_MISMATCH: Blame.ENVIRONMENT,
    FailureCause.WORLD_CHANGED: Blame.ENVIRONMENT,
    FailureCause.GPU_UNAVAILABLE: Blame.ENVIRONMENT,
    FailureCause.NOT_ACCEPTED: Blame.ENVIRONMENT,
    FailureCause.DEPLOYER_LOST: Blame.ENVIRONMENT,
    FailureCause.NO_BINARY: Blame.ENVIRONMENT,
    FailureCause.MODEL_MISSING: Blame.ENVIRONMENT,
    FailureCause.PORT_UNAVAILABLE: Blame.ENVIRONMENT,
    FailureCause.DISK_FULL: Blame.ENVIRONMENT,
    FailureCause.ENVIRONMENT: Blame.ENVIRONMENT,
}

FATAL = frozenset(
    {
        FailureCause.NO_BINARY,
        FailureCause.MODEL_MISSING,
        FailureCause.MODEL_GATED,
        FailureCause.IMAGE_MISSING,
        FailureCause.PACKAGE_MISSING,
        FailureCause.DRIVER_MISMATCH,
        FailureCause.WORLD_CHANGED,
        FailureCause.NOT_ACCEPTED,
        FailureCause.DISK_FULL,
    }
)
"""Environment faults that persist, so that the study stops at once."""


class Failure(FrozenModel):
    """A failure with its evidence."""

    cause: FailureCause
    message: str
    """What happened, in one line."""
    remedy: str = ""
    """What to change, in one line."""
    exit_code: int | None = None
    """The server's exit code; negative for the signal that ended it, as in :mod:`subprocess`."""
    log_tail: str = ""
    """The last lines of the server's log."""

    @property
    def blame(self) -> Blame:
        """What is at fault; follows from the cause."""
        return _BLAME.get(self.cause, Blame.CONFIGURATION)


class TrialFailedError(EnvironmentFaultError):
    """Raised by deployers and benchmarks during a trial; the trial runner stores its failure.

    ``details``: ``cause``.
    """

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(
            f"{failure.cause.value}: {failure.message}", remedy=failure.remedy, details={"cause": failure.cause.value}
        )

    @staticmethod
    def because(
        cause: FailureCause,
        message: str,
        *,
        remedy: str = "",
        exit_code: int | None = None,
        log_tail: str = "",
    ) -> "TrialFailedError":
        """The failure with this cause and evidence, to be raised."""
        failure = Failure(cause=cause, message=message, remedy=remedy, exit_code=exit_code, log_tail=log_tail)
        return TrialFailedError(failure)

    @classmethod
    def benchmark(
        cls, message: str, *, remedy: str = "", exit_code: int | None = None, log_tail: str = ""
    ) -> "TrialFailedError":
        """The benchmark, not the server, is at fault."""
        return cls.because(
            FailureCause.BENCHMARK_FAILED, message, remedy=remedy, exit_code=exit_code, log_tail=log_tail
        )

    @classmethod
    def load_generator_exit(cls, exit_code: int, stderr: Sequence[str]) -> "TrialFailedError":
        """The load generator exited with a code other than 0.

        Args:
            exit_code: Negative for the signal that ended it.
            stderr: The last lines of its stderr, kept as evidence.
        """
        how = f"was terminated by signal {-exit_code}" if exit_code < 0 else f"exited with code {exit_code}"
        message = f"the load generator {how}" + (f": {stderr[-1]}" if stderr else "")
        return cls.benchmark(message, exit_code=exit_code, log_tail="\n".join(stderr))

    @classmethod
    def identity_changed(cls, url: str, why: str) -> "TrialFailedError":
        """Something other than the server that this trial started answers at ``url``."""
        return cls.because(FailureCause.IDENTITY_CHANGED, f"{url} is not our server: {why}")

    @classmethod
    def gpu_unavailable(cls, message: str) -> "TrialFailedError":
        """The GPUs that the trial needs do not exist or are in use."""
        remedy = "end what uses them, lower the parallelism, or name other GPUs in deploy"
        return cls.because(FailureCause.GPU_UNAVAILABLE, message, remedy=remedy)

    @classmethod
    def value_not_applied(cls, name: str, requested: Value, actual: object) -> "TrialFailedError":
        """A tuned value did not reach the running server, so the result would be another configuration's."""
        return cls.because(
            FailureCause.VALUE_NOT_APPLIED,
            f"{name}={value_text(requested)} was requested, but the running server has {actual!r}",
            remedy="this is a defect of the tuner or its plugin: please report it",
        )
