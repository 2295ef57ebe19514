"""Which cause each engine finds in the log of a server that exited."""

import pytest

from autotuner.study.failure import Blame
from support.engine_cases import EngineCases, Exited
from support.engine_cases.all_engines import ALL
from support.engine_cases.sglang import SGLANG, crashed

EXITED = [pytest.param(c, e, id=f"{n}-{e.cause.value}-{i}") for n, c in ALL.items() for i, e in enumerate(c.exited)]


@pytest.mark.parametrize(("cases", "exited"), EXITED)
def test_cause_of_an_exit(cases: EngineCases, exited: Exited) -> None:
    failure = cases.engine.explain(exited.exit_code, exited.log, ready=exited.ready)
    assert failure is not None
    assert (failure.cause, failure.exit_code) == (exited.cause, exited.exit_code)
    assert all(fact in failure.message for fact in exited.facts)
    assert failure.remedy
    assert "\n" not in failure.message + failure.remedy


def test_gpu_memory_needs_opposite_remedies_while_loading_and_under_load() -> None:
    log = crashed("torch.OutOfMemoryError: CUDA out of memory.")
    loading = SGLANG.engine.explain(-9, log, ready=False)
    running = SGLANG.engine.explain(-9, log, ready=True)
    assert loading is not None
    assert running is not None
    assert loading.remedy.startswith("raise mem-fraction-static")
    assert running.remedy.startswith("lower mem-fraction-static")
    assert running.blame is Blame.CONFIGURATION
