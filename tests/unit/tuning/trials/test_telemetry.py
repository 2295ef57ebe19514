"""GPU telemetry cut to a window, and energy per token."""

import json
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from autotuner.study.launch import Gpu, GpuSample
from autotuner.study.measurement import Measurement
from autotuner.study.workload import Concurrency
from autotuner.testing.fake_deployer import FakeDeployer
from autotuner.tuning.trials.telemetry import FILE, Telemetry, gpu_use


def sample(at: float, index: int = 0, **sensors: float) -> GpuSample:
    return GpuSample(at=at, index=index, **sensors)


def test_samples_outside_of_the_window_are_ignored() -> None:
    samples = [
        sample(t, power_w=p, utilization=u) for t, p, u in ((0, 900, 0), (10, 100, 0.5), (11, 200, 1), (20, 900, 0))
    ]
    use = gpu_use(samples, 9, 12)
    assert use is not None
    assert (use.samples, use.power_w, use.utilization) == (2, 150, 0.75)
    assert use.energy_j == 450, "mean power times duration, without an energy counter"
    assert use.temperature_c is None


def test_energy_counter_is_interpolated_at_both_ends() -> None:
    samples = [sample(t, energy_j=1000 + 50 * t, power_w=1.0) for t in (0, 1, 2, 3, 4)]
    use = gpu_use(samples, 0.5, 3.5)
    assert use is not None
    assert use.energy_j == pytest.approx(150)


def test_energy_counter_that_does_not_cover_the_window_is_not_used() -> None:
    samples = [sample(t, energy_j=50.0 * t, power_w=40.0) for t in (1, 2)]
    use = gpu_use(samples, 0, 3)
    assert use is not None
    assert use.energy_j == 120


def test_sums_over_several_gpus_are_unknown_without_all_readings() -> None:
    both = [sample(1, 0, power_w=100, memory_gb=10, temperature_c=50), sample(1, 1, power_w=60, memory_gb=30)]
    use = gpu_use(both, 0, 2)
    assert use is not None
    assert (use.power_w, use.memory_gb, use.temperature_c, use.energy_j) == (160, 30, 50, 320)
    partial = gpu_use([sample(1, 0, power_w=100), sample(1, 1, utilization=0.1)], 0, 2)
    assert partial is not None
    assert partial.power_w is None
    assert partial.energy_j is None


@pytest.mark.parametrize("step", [0.0, 3600.0, -3600.0])
def test_wall_clock_that_is_set_during_the_window(tmp_path: Path, step: float) -> None:
    gpus = (Gpu(index=0, uuid="GPU-0"),)
    telemetry = Telemetry(FakeDeployer(), gpus, tmp_path)
    for second in range(11):
        wall = 1000.0 + second + (step if second > 5 else 0.0)
        telemetry.keep([sample(wall, energy_j=100.0 * second)], 50.0 + second)
    window = Measurement(
        scenario="s",
        level=Concurrency(in_flight=1),
        window_s=8.0,
        requests=8,
        failed=0,
        scalars={"output_throughput": 100.0},
        started_at=1001.0,
    )
    assert telemetry.added_to(window).scalars["energy_per_token"] == pytest.approx(1.0)


def test_window_without_a_sample() -> None:
    assert gpu_use([], 0, 1) is None
    assert gpu_use([sample(5, power_w=1)], 0, 1) is None
    assert gpu_use([sample(0.5, 0, power_w=1), sample(5, 1, power_w=1)], 0, 1) is None


class Metered(FakeDeployer):
    """A deployer whose sensors always read 10 W."""

    async def gpu_samples(self, gpus: Sequence[Gpu]) -> Sequence[GpuSample]:
        return [GpuSample(at=100.0 + len(gpus), index=g.index, power_w=10.0) for g in gpus]


@pytest.mark.anyio
async def test_energy_per_token_and_stored_samples(tmp_path: Path) -> None:
    gpu = Gpu(index=3, uuid="GPU-3")
    measured = Measurement(
        scenario="D(8,8)",
        level=Concurrency(in_flight=1),
        window_s=4.0,
        requests=1,
        failed=0,
        scalars={"output_throughput": 5.0},
        started_at=99.0,
    )
    async with Telemetry(Metered(), [gpu], tmp_path) as telemetry:
        with anyio.fail_after(30):
            while (found := telemetry.added_to(measured)).gpu_use is None:  # noqa: ASYNC110 - there is no event
                await anyio.sleep(0.01)
    assert found.scalars["energy_per_token"] == pytest.approx(10 * 4 / 20)
    kept = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert {"index": 3, "power_w": 10.0}.items() <= kept[0].items()


@pytest.mark.anyio
async def test_without_gpus_no_sample_is_read_or_written(tmp_path: Path) -> None:
    async with Telemetry(Metered(), [], tmp_path):
        await anyio.lowlevel.checkpoint()
    assert not (tmp_path / FILE).exists()
