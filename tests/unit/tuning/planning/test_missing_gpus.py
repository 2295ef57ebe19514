"""The failed check for GPUs that the target lacks."""

import pytest

from autotuner.study.check import CheckStatus
from autotuner.study.launch import Hardware
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings
from autotuner.tuning.planning.missing_gpus import with_missing_gpus

ENGINE = FakeEngine(FakeEngineSettings())


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [("no node offers any amd.com/gpu", "correct deploy.gpu_resource"), ("", "")],
)
def test_reason_and_remedy_of_the_target(reason: str, remedy: str) -> None:
    lacking = Hardware(no_gpus=reason, no_gpus_remedy=remedy)
    hardware, check = with_missing_gpus(ENGINE, {"tp": 8}, (), lacking)
    assert hardware.gpus == 8, "as many as the study needs"
    assert check is not None
    assert (check.name, check.status) == ("gpus", CheckStatus.FAIL)
    assert reason in check.detail
    assert check.remedy.startswith(remedy)
    assert check.remedy.count("run on a machine with GPUs") == (0 if remedy else 1), "in place of a remedy"
    assert "--simulate" in check.remedy


def test_enough_gpus() -> None:
    hardware = Hardware(gpus=8)
    assert with_missing_gpus(ENGINE, {"tp": 8}, (), hardware) == (hardware, None)


def test_what_the_baseline_needs() -> None:
    hardware, check = with_missing_gpus(ENGINE, {}, (), Hardware(gpus=2), {"tp": 4})
    assert hardware.gpus == 4
    assert check is not None
    assert check.detail.startswith("the baseline needs 4 GPUs; only 2 available")
