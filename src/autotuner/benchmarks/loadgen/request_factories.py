"""Which requests a window sends: the factory for its spec."""

from collections.abc import Sequence
from dataclasses import replace

from autotuner.benchmarks.loadgen.calibration_probe import probe_calibration
from autotuner.benchmarks.loadgen.conversations.recorded_turns import RecordedTurnFactory
from autotuner.benchmarks.loadgen.conversations.turns import TurnFactory
from autotuner.benchmarks.loadgen.endpoints.document_prompts import DocumentFactory
from autotuner.benchmarks.loadgen.endpoints.image_prompts import ImageFactory
from autotuner.benchmarks.loadgen.mix_prompts import MixFactory, part_calibrations
from autotuner.benchmarks.loadgen.prefix_prompts import PrefixFactory
from autotuner.benchmarks.loadgen.priming import prime
from autotuner.benchmarks.loadgen.prompts import RequestFactory
from autotuner.benchmarks.loadgen.replay_prompts import ReplayFactory
from autotuner.benchmarks.loadgen.spec import Calibration, WorkerSpec


async def calibrations_of(spec: WorkerSpec) -> list[Calibration]:
    """The calibration of each part of a mix, or of the only kind of requests: as given, or measured by probes."""
    return await part_calibrations(spec) if spec.parts else [spec.calibration or await probe_calibration(spec)]


def calibrated(spec: WorkerSpec, calibrations: Sequence[Calibration]) -> WorkerSpec:
    """The spec with these calibrations, so that no further process probes for them."""
    parts = tuple(replace(part, calibration=found) for part, found in zip(spec.parts, calibrations, strict=False))
    return replace(spec, parts=parts, calibration=None if spec.parts else calibrations[0])


def given_calibrations(spec: WorkerSpec) -> list[Calibration]:
    """The calibrations in a spec; none where one is missing."""
    found = [part.calibration for part in spec.parts] or [spec.calibration]
    return [one or Calibration() for one in found]


def request_factory(spec: WorkerSpec, calibrations: Sequence[Calibration], host: str) -> RequestFactory:
    """The factory of a window's requests.

    Args:
        spec: The window.
        calibrations: Words per prompt length, of each part of a mix.
        host: Value of the ``Host`` header.
    """
    if spec.parts:
        return MixFactory(spec, calibrations, host)
    if spec.conversations is not None:
        kind = TurnFactory if spec.rows is None else RecordedTurnFactory
        return kind(spec, calibrations[0], host)
    if spec.documents is not None:
        return DocumentFactory(spec, calibrations[0], host)
    if spec.images is not None:
        return ImageFactory(spec, calibrations[0], host)
    if spec.replay is not None:
        return ReplayFactory(spec, calibrations[0], host)
    return (RequestFactory if spec.prefixes is None else PrefixFactory)(spec, calibrations[0], host)


async def prime_prefixes(spec: WorkerSpec, factory: RequestFactory) -> list[int]:
    """Sends the shared prefixes of a window; see :func:`prime`. One number for each part of a mix that has some."""
    factories = factory.factories if isinstance(factory, MixFactory) else [factory]
    prefixed = [found.prefixes if isinstance(found, TurnFactory) else found for found in factories]
    return [await prime(spec, found) for found in prefixed if isinstance(found, PrefixFactory)]
