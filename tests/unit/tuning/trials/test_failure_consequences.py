"""Consequences of failures: a result, a second launch of the default, or the end of the study."""

from typing import Any

import pytest

from autotuner.errors import EnvironmentFaultError
from autotuner.store import Store
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.launch import LaunchPlan
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.testing.fake_deployer import Behavior, FakeDeployer
from autotuner.tuning.retry_or_stop import CannotStartError
from autotuner.tuning.study_session import run_session
from autotuner.tuning.trials.failure_consequences import comparable_text, hopeless, settled
from autotuner.tuning.trials.start_failures import start_failure

PARAMETERS = (
    Parameter(name="a", domain=Choices(values=(1, 2))),
    Parameter(name="b", domain=Choices(values=(1, 2, 3, 4))),
)


def crash(log: str, cause: FailureCause = FailureCause.CRASH_LOADING, code: int = 1) -> Failure:
    return Failure(cause=cause, message="the server exited with code 1 while loading", exit_code=code, log_tail=log)


def trial(number: int, failure: Failure | None, state: TrialState = TrialState.FAILED, **values: Any) -> Trial:
    role = TrialRole.SEARCH if values else TrialRole.DEFAULT
    given = Configuration(values=values) if values else DEFAULT
    return Trial(study="s", number=number, role=role, configuration=given, state=state, failure=failure)


def history(*logs: str, cause: FailureCause = FailureCause.CRASH_LOADING) -> list[Trial]:
    """Failed trials with these logs: the default, then the search with ``b`` = 1, 2, ..."""
    failures = [crash(log, cause) for log in logs]
    return [trial(i, f, **({"a": 1, "b": i} if i else {})) for i, f in enumerate(failures)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ERROR 11-28 17:49:25 no free port 24001", "ERROR 11-28 17:52:01 no free port 24002"),
        ("cannot map /tmp/a/x.so at 0x7f3a", "cannot map /tmp/b/y.so at 0x9e1c"),
        ("\x1b[31mbad magic in block 3fa9c2d1\x1b[0m", "bad magic in block 77aa00ff"),
    ],
)
def test_same_failure_with_other_numbers(one: str, other: str) -> None:
    assert comparable_text(crash(one)) == comparable_text(crash(other))


def test_different_failures() -> None:
    assert comparable_text(crash("no kernel for fa3")) != comparable_text(crash("no kernel for triton"))
    assert comparable_text(crash("x")) != comparable_text(crash("x", FailureCause.START_TIMEOUT))


def test_four_equal_failures_end_the_study() -> None:
    assert hopeless(history("at 1", "at 2", "at 3"), PARAMETERS) == []
    four = history("at 1", "at 2", "at 3", "at 4")
    assert hopeless(four, PARAMETERS) == four
    assert hopeless(history("at 1", "at 2", "other", "at 4"), PARAMETERS) == []


def test_both_launches_of_the_default_count() -> None:
    tries = [trial(0, crash("1"), TrialState.VOID), trial(1, crash("2")), trial(2, crash("3"), a=1, b=1)]
    assert hopeless(tries, PARAMETERS) == []
    tries.append(trial(3, crash("4"), a=1, b=2))
    assert hopeless(tries, PARAMETERS) == tries


def test_any_successful_trial_keeps_the_study_running() -> None:
    four = history("1", "2", "3", "4")
    assert hopeless([*four[:2], trial(2, None, TrialState.DONE, a=1, b=2), *four[3:]], PARAMETERS) == []
    assert hopeless([trial(0, None, TrialState.DONE), *four[1:]], PARAMETERS) == []


@pytest.mark.parametrize("cause", [FailureCause.GPU_OUT_OF_MEMORY_LOADING, FailureCause.KV_CACHE_TOO_SMALL,
                                   FailureCause.OUT_OF_MEMORY, FailureCause.UNSUPPORTED_GPU])  # fmt: skip
def test_causes_that_parameters_may_cure_never_end_the_study(cause: FailureCause) -> None:
    assert hopeless(history(*"123456", cause=cause), PARAMETERS) == []


def test_rejected_combinations_end_the_study_once_every_parameter_varied() -> None:
    tries = history(*"12345", cause=FailureCause.UNSUPPORTED_COMBINATION)
    assert hopeless(tries, PARAMETERS) == [], "a was always 1"
    tries.append(trial(5, tries[0].failure, a=2, b=1))
    assert hopeless(tries, PARAMETERS) == tries


def test_unknown_fixed_flag_ends_the_study_at_once() -> None:
    tries = history("x", cause=FailureCause.INVALID_FLAG)
    assert hopeless(tries, PARAMETERS) == tries


def test_default_that_may_have_failed_by_chance_is_launched_twice() -> None:
    first = trial(0, crash("x"))
    assert settled(first, [first]).state is TrialState.VOID
    again = trial(1, crash("x"))
    assert settled(again, [settled(first, []), again]) == again
    killed = trial(0, crash("x", FailureCause.UNSUPPORTED_COMBINATION, code=-11))
    assert settled(killed, []).state is TrialState.VOID
    refused = trial(0, crash("x", FailureCause.UNSUPPORTED_COMBINATION))
    assert settled(refused, []) == refused, "it would be rejected again"
    searched = trial(1, crash("x"), a=1)
    assert settled(searched, []) == searched


def test_package_that_only_one_value_needs() -> None:
    missing = crash("x", FailureCause.PACKAGE_MISSING)
    assert settled(trial(1, missing, TrialState.VOID, a=1), []).state is TrialState.FAILED
    assert settled(trial(0, missing, TrialState.VOID), []).state is TrialState.VOID


@pytest.mark.parametrize(
    ("code", "log", "cause", "detail"),
    [
        (1, "ModuleNotFoundError: No module named 'vllm'", FailureCause.PACKAGE_MISSING, "vllm"),
        (1, "/usr/bin/python3: No module named sglang", FailureCause.PACKAGE_MISSING, "sglang"),
        (1, "importlib.metadata.PackageNotFoundError: No package metadata was found for vllm",
         FailureCause.PACKAGE_MISSING, "vllm"),
        (1, "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory",
         FailureCause.PACKAGE_MISSING, "libcudart.so.12"),
        (127, "./llama-server: error while loading shared libraries: libggml.so: cannot open shared object file",
         FailureCause.PACKAGE_MISSING, "libggml.so"),
        (1, "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found", FailureCause.PACKAGE_MISSING, "2.38"),
        (1, "ImportError: /v/_C.abi3.so: undefined symbol: _ZN3c10", FailureCause.PACKAGE_MISSING, "undefined symbol"),
        (1, "RuntimeError: CUDA driver version is insufficient for CUDA runtime version",
         FailureCause.DRIVER_MISMATCH, ""),
        (126, "./serve: line 2: ./bin: cannot execute binary file: Exec format error", FailureCause.NO_BINARY, ""),
        (126, "sh: 1: ./serve: Permission denied", FailureCause.NO_BINARY, ""),
        (127, "./serve: line 3: vllm: command not found", FailureCause.NO_BINARY, "vllm"),
        (127, "", FailureCause.NO_BINARY, ""),
    ],
)  # fmt: skip
def test_faults_of_the_installation(code: int, log: str, cause: FailureCause, detail: str) -> None:
    generic = crash(log)
    found = start_failure(generic, code, f"starting\n{log}\n", ready=False)
    assert found is not None
    assert (found.cause, found.exit_code, found.log_tail) == (cause, code, f"starting\n{log}\n")
    assert detail in found.message
    assert found.remedy
    assert start_failure(generic, code, log, ready=True) is None, "it had started"
    memory = crash(log, FailureCause.GPU_OUT_OF_MEMORY_LOADING)
    assert start_failure(memory, code, log, ready=False) is None, "the engine found a specific cause"


def test_early_warning_is_not_the_cause() -> None:
    log = "WARNING No module named 'flash_attn', using sdpa\n" + "loading\n" * 60 + "RuntimeError: no such device\n"
    assert start_failure(crash(log), 1, log, ready=False) is None


async def _ended(loop: Any, store: Store, failure: Failure) -> tuple[FakeDeployer, CannotStartError]:
    deployer = FakeDeployer(behavior=lambda _: Behavior(fails=failure))
    with pytest.raises(CannotStartError) as caught:
        await run_session(loop.prepared(loop.spec(trials=9), deployer=deployer), store, source="t")
    return deployer, caught.value


@pytest.mark.anyio
async def test_study_whose_server_cannot_start_stops_and_can_resume(loop: Any, store: Store) -> None:
    deployer, error = await _ended(loop, store, crash("engine 0x7f21 crashed at 17:04"))
    assert isinstance(error, EnvironmentFaultError)
    assert '"engine 0x7f21 crashed at 17:04"' in str(error)
    assert len(deployer.deployed) == 4, "the default twice, and two trials of the search"
    assert {t.state for t in store.trials.all("s")} == {TrialState.VOID}
    outcome = await run_session(loop.prepared(), store, source="t")
    assert [t.state for t in outcome.trials[4:]] == [TrialState.DONE] * 4


@pytest.mark.anyio
async def test_default_that_crashes_once_is_launched_again(loop: Any, store: Store) -> None:
    fails = [crash("by chance")]

    def behave(_: LaunchPlan) -> Behavior:
        return Behavior(fails=fails.pop() if fails else None)

    spec = loop.spec(max_environment_faults=1)
    outcome = await run_session(loop.prepared(spec, deployer=FakeDeployer(behavior=behave)), store, source="t")
    assert [(t.role, t.state) for t in outcome.trials][:3] == [
        ("default", "void"),
        ("default", "done"),
        ("search", "done"),
    ]
