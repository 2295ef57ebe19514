"""CPU time of foreign processes: that of a neighbor counts, that of our own children does not."""

import subprocess
import sys
import time

from autotuner.benchmarks.measuring.foreign_cpu import CpuSample, foreign_cores, sample

BURN = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass"
ORPHAN = f"""
import subprocess, sys
burner = subprocess.Popen([sys.executable, "-c", {BURN!r}], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(burner.pid)
"""


def used_by_us(before: CpuSample, after: CpuSample) -> float:
    return after.ours_s - before.ours_s


def test_cpu_time_of_a_finished_child_is_ours() -> None:
    before = sample(())
    subprocess.run([sys.executable, "-c", BURN], check=True)
    after = sample(())
    assert before is not None
    assert after is not None
    assert used_by_us(before, after) >= 0.3


def test_cpu_time_of_another_process_is_foreign_unless_it_is_the_server() -> None:
    orphaned = subprocess.run([sys.executable, "-c", ORPHAN], check=True, capture_output=True)
    pid = int(orphaned.stdout)
    before = sample(())
    server_before = sample({pid})
    time.sleep(0.3)
    after = sample(())
    server_after = sample({pid})
    assert before is not None
    assert after is not None
    assert server_before is not None
    assert server_after is not None
    assert used_by_us(server_before, server_after) > used_by_us(before, after)
    foreign = foreign_cores(before, after)
    assert foreign is not None
    assert foreign > 0


def test_foreign_cores_are_unknown_without_two_samples_and_never_negative() -> None:
    one = CpuSample(at=1.0, host_s=10.0, ours_s=5.0)
    assert foreign_cores(None, one) is None
    assert foreign_cores(one, None) is None
    assert foreign_cores(one, one) is None
    assert foreign_cores(one, CpuSample(at=2.0, host_s=10.5, ours_s=6.0)) == 0.0
    assert foreign_cores(one, CpuSample(at=3.0, host_s=12.0, ours_s=6.0)) == 0.5
