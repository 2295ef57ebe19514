"""The wording of the engines' messages: problems of values, warnings, and failures of a server that exited."""

from collections.abc import Iterable

import pytest
from syrupy.assertion import SnapshotAssertion

from autotuner.engines.shared.portable import expand
from autotuner.errors import Problem, UsageError
from support.engine_cases import EngineCases, machine
from support.engine_cases.all_engines import ALL
from support.engine_cases.portable import REFUSED

CASES = [pytest.param(cases, id=name) for name, cases in ALL.items()]
NOTES = {
    "sglang": {"chunked-prefil-size": 2048, "zzz": 1},
    "tensorrt_llm": {"config": "/srv/options.yaml"},
    "simulated_sglang": {"attention-backend": "fa3"},
}


def lines(problems: Iterable[Problem]) -> list[str]:
    return list(dict.fromkeys(map(str, problems)))


@pytest.mark.parametrize("cases", CASES)
def test_problems_of_values(cases: EngineCases, snapshot: SnapshotAssertion) -> None:
    found = [problem for refused in cases.refused for problem in cases.engine.check(refused.values, cases.hardware)]
    for unsupported in cases.unsupported:
        found += cases.engine.check(unsupported.values, machine(unsupported.gpu))
    for flag in cases.secrets:
        found += cases.engine.check({flag: "s3cret"}, cases.hardware)
    assert lines(found) == snapshot


@pytest.mark.parametrize("cases", CASES)
def test_failures(cases: EngineCases, snapshot: SnapshotAssertion) -> None:
    failures = [cases.engine.explain(e.exit_code, e.log, ready=e.ready) for e in cases.exited]
    assert list(dict.fromkeys(f"{f.cause.value}: {f.message}; {f.remedy}" for f in failures if f)) == snapshot


@pytest.mark.parametrize(("name", "values"), NOTES.items(), ids=NOTES)
def test_warnings(name: str, values: dict[str, str | int], snapshot: SnapshotAssertion) -> None:
    assert lines(ALL[name].engine.notes(values)) == snapshot


def test_portable_values(snapshot: SnapshotAssertion) -> None:
    found: list[Problem] = []
    for kind, refused in REFUSED:
        with pytest.raises(UsageError) as caught:
            expand(kind, refused.values)
        found += caught.value.problems
    assert lines(found) == snapshot
