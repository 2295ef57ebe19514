"""Requests of several kinds in one window, in random order."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from random import Random

from autotuner.benchmarks.loadgen.calibration_probe import probe_calibration
from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.prefix_prompts import PrefixFactory
from autotuner.benchmarks.loadgen.prompts import RequestFactory
from autotuner.benchmarks.loadgen.spec import Calibration, Share, WorkerSpec

_SEED_STEP = 1_000_003
"""Difference between the seeds of two parts, so that parts of equal lengths do not draw the same ones."""


def part_specs(spec: WorkerSpec) -> list[WorkerSpec]:
    """The spec of each part of a mix alone."""
    return [
        replace(
            spec,
            parts=(),
            share=Share(),  # the mix skips the requests of other processes, whichever kind they are
            model=part.model,
            input=part.input,
            output=part.output,
            prefix_tokens=part.prefix_tokens,
            prefixes=part.prefixes,
            calibration=part.calibration,
            rows=part.rows,
            row_order=f"{spec.row_order} part {index}",
            seed=spec.seed + _SEED_STEP * index,
            salt=f"{spec.salt} part {index}",
            prefix_salt=f"{spec.prefix_salt} part {index}",
        )
        for index, part in enumerate(spec.parts)
    ]


async def part_calibrations(spec: WorkerSpec) -> list[Calibration]:
    """The calibration of each part. Parts with the same lengths share their probes, because adapters have the tokenizer
    of their model."""
    known: dict[object, Calibration] = {}
    found = []
    for part in part_specs(spec):
        key = (part.input, part.prefix_tokens)
        if key not in known:
            known[key] = part.calibration or await probe_calibration(part)
        found.append(known[key])
    return found


class MixFactory(RequestFactory):
    """The requests of a mix. Which kind a request is follows from the seed alone.

    Args:
        spec: The window.
        calibrations: Words per prompt length of each part.
        host: Value of the ``Host`` header.
    """

    def __init__(self, spec: WorkerSpec, calibrations: Sequence[Calibration], host: str) -> None:
        super().__init__(spec, Calibration(), host)
        self.factories = [
            (RequestFactory if part.prefixes is None else PrefixFactory)(part, calibration, host)
            for part, calibration in zip(part_specs(spec), calibrations, strict=True)
        ]
        self._indexes = range(len(self.factories))
        self._weights = list(accumulate(part.weight for part in spec.parts))
        self._choice = Random(f"{spec.seed}:mix")

    def skip(self) -> None:
        """See :meth:`RequestFactory.skip`."""
        self.factories[self._chosen()].skip()

    def _make(self, index: int, output_share: float) -> Request:
        chosen = self._chosen()
        request = self.factories[chosen].next(output_share=output_share)
        request.index = index
        request.part = chosen
        return request

    def _chosen(self) -> int:
        [index] = self._choice.choices(self._indexes, cum_weights=self._weights)
        return index
