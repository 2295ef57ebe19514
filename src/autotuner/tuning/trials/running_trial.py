"""Running trial, and the outcome that turns it into a finished :class:`Trial`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from autotuner.study.capacity.result import CapacityResult
from autotuner.study.failure import KEPT_LOG_LINES, Blame, Failure
from autotuner.study.launch import Identity
from autotuner.study.measurement import Measurement
from autotuner.study.quality.result import QualityResult
from autotuner.study.search.cut import Cut
from autotuner.study.trial import Trial, TrialState
from autotuner.study.verdict import Verdict


@dataclass(frozen=True)
class TrialOutcome:
    """How a trial ended."""

    state: TrialState
    looks: tuple[Measurement, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    cut: Cut | None = None
    verdict: Verdict | None = None
    failure: Failure | None = None

    @classmethod
    def failed(cls, failure: Failure) -> Self:
        """A result if the configuration is to blame; otherwise void, so that the trial is repeated."""
        state = TrialState.FAILED if failure.blame is Blame.CONFIGURATION else TrialState.VOID
        evidence = "\n".join(failure.log_tail.splitlines()[-KEPT_LOG_LINES:])
        return cls(state=state, failure=failure.replaced(log_tail=evidence))

    @classmethod
    def cut_off(cls) -> Self:
        """Not a result: the trial was cancelled."""
        return cls(state=TrialState.VOID)


@dataclass
class TrialDraft:
    """Facts about a running trial so far."""

    proposed: Trial
    """The trial as stored before its launch."""
    gpus: int = 0
    """Number of GPUs that the trial holds."""
    usd_per_hour: float | None = None
    """Price of what the trial holds, if it is known."""
    argv: tuple[str, ...] = ()
    address_flags: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    identity: Identity | None = None
    resolved: Mapping[str, object] = field(default_factory=dict)
    capacities: list[CapacityResult] = field(default_factory=list)
    """One per scenario, in a study of capacity; the last one may have only its first levels."""
    quality: QualityResult | None = None
    server_of: int | None = None
    """Number of the trial that launched the server, if this one only changed flags of it."""

    @property
    def study(self) -> str:
        """Name of the study."""
        return self.proposed.study

    @property
    def number(self) -> int:
        """Number of the trial."""
        return self.proposed.number

    @property
    def simulated(self) -> bool:
        """Whether the server reported that its numbers are simulated."""
        return self.resolved.get("simulated") is True

    def finished(
        self, outcome: TrialOutcome, *, phases: Mapping[str, float], started_at: float, finished_at: float
    ) -> Trial:
        """The finished trial, validated. ``phases`` in seconds, times in seconds since the epoch."""
        return Trial(
            study=self.study,
            number=self.number,
            role=self.proposed.role,
            configuration=self.proposed.configuration,
            flags=self.proposed.flags,
            engine_default=self.proposed.engine_default,
            repeat_of=self.proposed.repeat_of,
            block=self.proposed.block,
            rationale=self.proposed.rationale,
            created_at=self.proposed.created_at,
            state=outcome.state,
            looks=outcome.looks,
            measurements=outcome.measurements,
            capacities=tuple(self.capacities),
            cut=outcome.cut,
            verdict=outcome.verdict,
            failure=outcome.failure,
            argv=self.argv,
            address_flags=self.address_flags,
            command=self.command,
            identity=self.identity,
            resolved=self.resolved,
            phases=phases,
            started_at=started_at,
            finished_at=finished_at,
            gpus=self.gpus,
            usd_per_hour=self.usd_per_hour,
            quality=self.quality,
            server_of=self.server_of,
        )
