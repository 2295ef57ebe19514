"""Errors with message, remedy and details as fields; their text is only for display."""

import pytest
from pydantic import BaseModel, ValidationError, field_validator
from syrupy.assertion import SnapshotAssertion

from autotuner.cli.exit_codes import ExitCode, of_error
from autotuner.errors import (
    HIDDEN_VALUE,
    MAX_SHOWN,
    AutotunerError,
    EnvironmentFaultError,
    InvalidValueError,
    MissingExtraError,
    Problem,
    StudyBusyError,
    UsageError,
    did_you_mean,
)
from autotuner.study.check import Check, PreflightError
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.problems import problems_of

SPLIT = "no node can be used (n1: cordoned; n2: not ready)"


def test_a_message_with_a_semicolon_keeps_its_remedy_apart() -> None:
    error = AutotunerError(SPLIT, remedy="uncordon one; or add one", details={"nodes": ["n1", "n2"]})
    assert (error.message, error.remedy) == (SPLIT, "uncordon one; or add one")
    assert error.details == {"nodes": ["n1", "n2"]}
    assert str(error) == f"{SPLIT}; uncordon one; or add one"


def test_the_text_without_a_remedy_is_the_message() -> None:
    assert str(AutotunerError(SPLIT)) == SPLIT


def test_details_are_copied() -> None:
    given = {"study": "s"}
    error = StudyBusyError("busy", details=given)
    given["study"] = "t"
    assert error.details == {"study": "s"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AutotunerError("x"), ExitCode.FAILED),
        (StudyBusyError("x"), ExitCode.FAILED),
        (UsageError("x"), ExitCode.USAGE),
        (EnvironmentFaultError("x"), ExitCode.ENVIRONMENT),
        (MissingExtraError("ray", "ray"), ExitCode.ENVIRONMENT),
        (PreflightError([Check.fail("disk", "full")]), ExitCode.ENVIRONMENT),
        (TrialFailedError.because(FailureCause.NCCL, "x"), ExitCode.ENVIRONMENT),
    ],
)
def test_exit_codes(error: AutotunerError, code: ExitCode) -> None:
    assert of_error(error) is code


def test_one_problem_gives_the_error_its_remedy() -> None:
    error = UsageError(Problem(where="a.b", value="1", why="not a size; or is it", remedy="write 1g"))
    assert error.message == "a.b = 1: not a size; or is it"
    assert error.remedy == "write 1g"
    assert str(error) == f"{error.message}; {error.remedy}"


def test_an_error_at_one_place_has_one_problem() -> None:
    error = UsageError.at("a.b", "not a size", value="1", remedy="write 1g")
    assert error.problems == (Problem(where="a.b", value="1", why="not a size", remedy="write 1g"),)


@pytest.mark.parametrize("error", [StudyBusyError.running("s", "r", by="p"), StudyBusyError.taken_over("s")])
def test_a_busy_study_is_named(error: StudyBusyError) -> None:
    assert error.details == {"study": "s"}
    assert "study s" in error.message
    assert error.remedy


def test_many_problems_are_counted() -> None:
    error = UsageError(Problem(where=f"p{i}", why="w", remedy="r") for i in range(MAX_SHOWN + 3))
    assert len(error.problems) == MAX_SHOWN + 3
    assert error.remedy == ""
    assert error.message.splitlines()[-2:] == [f"p{MAX_SHOWN - 1}: w", "and 3 more"]
    assert str(error).splitlines()[-2:] == [f"p{MAX_SHOWN - 1}: w; r", "and 3 more"]


def test_several_failed_checks_keep_their_remedies() -> None:
    error = PreflightError([Check.fail("a", "x", remedy="r"), Check.fail("b", "y")])
    assert (error.message, error.remedy) == ("a: x\nb: y", "")
    assert str(error) == "a: x; r\nb: y"
    assert PreflightError(error.checks[:1]).remedy == "r"


def test_a_failed_trial_keeps_its_evidence() -> None:
    error = TrialFailedError.because(FailureCause.NCCL, "m", remedy="r", exit_code=3, log_tail="t")
    failure = error.failure
    assert (failure.cause, failure.message, failure.remedy) == (FailureCause.NCCL, "m", "r")
    assert (failure.exit_code, failure.log_tail) == (3, "t")
    assert (error.message, error.remedy, error.details) == ("nccl: m", "r", {"cause": "nccl"})


@pytest.mark.parametrize(
    ("error", "cause", "parts"),
    [
        (TrialFailedError.benchmark("m"), FailureCause.BENCHMARK_FAILED, ("m",)),
        (TrialFailedError.identity_changed("http://h:1", "w"), FailureCause.IDENTITY_CHANGED, ("http://h:1", "w")),
        (TrialFailedError.gpu_unavailable("m"), FailureCause.GPU_UNAVAILABLE, ("m",)),
        (TrialFailedError.value_not_applied("a", (1, 2), None), FailureCause.VALUE_NOT_APPLIED, ("a=1,2", "None")),
    ],
)
def test_named_failures_have_their_cause(error: TrialFailedError, cause: FailureCause, parts: tuple[str, ...]) -> None:
    assert error.failure.cause is cause
    assert [part for part in parts if part not in error.failure.message] == []


@pytest.mark.parametrize(("code", "part"), [(-9, "signal 9"), (3, "code 3")])
def test_the_end_of_a_load_generator_keeps_its_stderr(code: int, part: str) -> None:
    failure = TrialFailedError.load_generator_exit(code, ["first", "last"]).failure
    assert (failure.cause, failure.exit_code) == (FailureCause.BENCHMARK_FAILED, code)
    assert failure.log_tail == "first\nlast"
    assert part in failure.message
    assert failure.message.endswith(": last")
    assert part in TrialFailedError.load_generator_exit(code, []).failure.message


def test_wordings(snapshot: SnapshotAssertion) -> None:
    errors = [
        StudyBusyError.running("s", "stop it first: autotuner stop s"),
        StudyBusyError.running("s", "follow it: autotuner watch s", by="process 1 on h"),
        StudyBusyError.taken_over("s"),
        MissingExtraError("the ray deployer", "ray"),
        TrialFailedError.identity_changed("http://h:1", "its pod was removed"),
        TrialFailedError.gpu_unavailable("2 GPUs are needed, and the target has 1"),
        TrialFailedError.value_not_applied("a", (1, 2), None),
        TrialFailedError.load_generator_exit(-9, []),
        TrialFailedError.load_generator_exit(3, ["last"]),
    ]
    assert "\n".join(map(str, errors)) == snapshot


def test_a_missing_extra_names_itself() -> None:
    error = MissingExtraError("the ray deployer", "ray")
    assert error.details == {"extra": "ray"}
    assert "llm-inference-autotuner[ray]" in error.remedy


def test_a_refused_value_has_its_remedy_in_a_field() -> None:
    error = InvalidValueError("no size; at all", remedy="write 1g")
    assert (error.why, error.remedy, str(error)) == ("no size; at all", "write 1g", "no size; at all; write 1g")


@pytest.mark.parametrize("name", ["hfToken", "authToken", "awsSecretAccessKey", "HF_TOKEN", "db_password"])
def test_problems_hide_values_under_names_of_secrets(name: str) -> None:
    assert Problem(where=f"parameters.{name}", value="s3cr3t-value", why="must be a list").value == HIDDEN_VALUE


@pytest.mark.parametrize("name", ["api_key_env", "tokenizer", "max_tokens"])
def test_problems_show_values_under_other_names(name: str) -> None:
    assert Problem(where=f"benchmark.{name}", value="MY_KEY", why="unknown").value == "MY_KEY"


def test_a_validator_s_remedy_reaches_the_problem() -> None:
    problem = Problem.refused("a", InvalidValueError("no size; at all", remedy="write 1g"), remedy="other")
    assert (problem.why, problem.remedy) == ("no size; at all", "write 1g")
    other = Problem.refused("a", ValueError("no size; at all"), remedy="other")
    assert (other.why, other.remedy) == ("no size; at all", "other")


class _Model(BaseModel):
    size: str

    @field_validator("size")
    @classmethod
    def _refuse(cls, value: str) -> str:
        if value == "typed":
            raise InvalidValueError("no size; at all", remedy="write 1g; or 2g")
        raise ValueError("no size; at all")


@pytest.mark.parametrize(("size", "remedy"), [("typed", "write 1g; or 2g"), ("plain", "")])
def test_a_validator_s_message_is_not_cut_at_a_semicolon(size: str, remedy: str) -> None:
    with pytest.raises(ValidationError) as caught:
        _Model(size=size)
    (problem,) = problems_of(caught.value, _Model)
    assert (problem.where, problem.why, problem.remedy) == ("size", "no size; at all", remedy)


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ("ttfd", 'did you mean "ttft"?'),
        ("e2e", 'did you mean "e2e_latency"?'),
        ("", "known: e2e_latency, e2e_latency_scheduled, ttft"),
        ("speed", "known: e2e_latency, e2e_latency_scheduled, ttft"),
    ],
)
def test_a_wrong_name_gets_the_nearest_one(wrong: str, remedy: str) -> None:
    assert did_you_mean(wrong, ["e2e_latency_scheduled", "e2e_latency", "ttft"]) == remedy
