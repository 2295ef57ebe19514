"""GPU discovery through the real NVML binding, which loads a scripted stub of the library."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from autotuner.deployers.local.gpu_selection import chosen
from autotuner.deployers.local.nvml import Nvml
from autotuner.deployers.process import ProcessSettings
from autotuner.study.launch import Gpu, Labels

HERE = Path(__file__).parent


def uuid(index: int) -> str:
    return f"GPU-{index:08}-stub"


class Machine:
    """A process that sees a simulated machine, whose ``facts`` may change while it runs."""

    def __init__(self, library: Path, folder: Path, **env: str) -> None:
        self._state = folder / "facts"
        self.facts()
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA", "AUTOTUNER"))}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(HERE / "nvml_eyes.py")],
            env={**inherited, "LD_LIBRARY_PATH": str(library), "NVML_STUB": str(self._state), **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def facts(self, *lines: str, gpus: int = 4) -> None:
        new = self._state.with_suffix(".new")
        new.write_text("\n".join(["driver 570.86.10", f"gpus {gpus}", *lines, ""]))
        new.replace(self._state)

    def do(self, name: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": name, **arguments}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def initializations(self) -> list[str]:
        return Path(f"{self._state}.inits").read_text().split()

    def end(self) -> None:
        self._process.communicate(timeout=30)
        assert self._process.returncode == 0


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (apt install gcc libc6-dev)")
    folder = tmp_path_factory.mktemp("nvml")
    target = folder / "libnvidia-ml.so.1"
    flags = ["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, "-o", str(target), str(HERE / "nvml_stub.c")], check=True)
    return folder


@pytest.fixture
def machine(library: Path, tmp_path: Path) -> Iterator[Machine]:
    made = Machine(library, tmp_path)
    yield made
    made.end()


@pytest.fixture
def process() -> Iterator[int]:
    """A process that autotuner did not start."""
    with subprocess.Popen(["sleep", "60"]) as started:
        yield started.pid
        started.kill()


@pytest.fixture
def labeled_process() -> Iterator[int]:
    """A process with the labels of a trial."""
    env = {**os.environ, **Labels(study="s", trial=1, owner="o").env()}
    with subprocess.Popen(["sleep", "60"], env=env) as started:
        yield started.pid
        started.kill()


def test_gpus_and_their_users(machine: Machine, process: int, labeled_process: int) -> None:
    machine.facts(
        "used 1 4300",
        f"process 1 {process} 4198",
        "used 2 70000",
        f"process 2 {labeled_process} 70000",
        f"process 3 {labeled_process} 100",
        f"process 3 {process} -1",
        f"drawing 3 {process} 5",
    )
    seen = [Gpu.model_validate(gpu) for gpu in machine.do("gpus")]
    assert [(g.index, g.uuid, g.name, g.memory_gb) for g in seen] == [(i, uuid(i), "Stub H100", 80.0) for i in range(4)]
    assert [g.used_gb for g in seen] == [0.0, 4.2, 68.36, 0.0]
    users = [g.users for g in seen]
    assert users == [(), (f"sleep (pid {process}), 4.1 GiB",), (), (f"sleep (pid {process})",)]


def test_unlabeled_children_of_a_server_do_not_count_as_users(machine: Machine) -> None:
    env = {**os.environ, **Labels(study="s", trial=1, owner="o").env()}
    script = "env -i sleep 60 & echo $!; env -i sh -c 'sleep 60 & echo $!'; wait"
    with subprocess.Popen(["sh", "-c", script], env=env, stdout=subprocess.PIPE, start_new_session=True) as server:
        assert server.stdout is not None
        try:
            child, orphan = (int(server.stdout.readline()) for _ in range(2))
            machine.facts(f"process 0 {child} 100", f"process 1 {orphan} 100")
            assert [g["users"] for g in machine.do("gpus")][:2] == [[], []]
        finally:
            os.killpg(server.pid, 9)


def test_server_of_this_process_without_labels_does_not_count_as_user(machine: Machine) -> None:
    server, other = machine.do("start")
    machine.facts(f"process 0 {server} 100", f"process 1 {other} 100")
    assert [len(g["users"]) for g in machine.do("gpus")][:2] == [0, 1]


def test_memory_in_use_without_a_visible_process(machine: Machine) -> None:
    machine.facts("used 0 40960", "used 1 600")
    (user,), no_users = [g["users"] for g in machine.do("gpus")][:2]
    assert user.endswith(", 40.0 GiB")
    assert "pid" not in user
    assert no_users == []


def test_desktop_does_not_occupy_its_gpu(machine: Machine, process: int) -> None:
    machine.facts(f"drawing 0 {process} 300", f"drawing 1 {process} 9000", f"process 2 {process} 300")
    assert [len(g["users"]) for g in machine.do("gpus")] == [0, 1, 1, 0]


def test_process_that_has_just_ended_is_still_listed(machine: Machine) -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    machine.facts(f"process 0 {ended.pid} 1024")
    assert machine.do("gpus")[0]["users"] == [f"process (pid {ended.pid}), 1.0 GiB"]


def test_available_and_missing_sensors(machine: Machine) -> None:
    machine.facts("used 0 2048", "power 0 500250", *(f"lacks 1 {s}" for s in ("power", "energy", "utilization")))
    first, second, *_ = machine.do("samples")
    expected = {
        "index": 0,
        "utilization": 0.25,
        "memory_gb": 2.0,
        "power_w": 500.25,
        "temperature_c": 61.0,
        "clock_mhz": 1980.0,
        "energy_j": 1234.5,
    }
    assert {k: v for k, v in first.items() if k != "at"} == expected
    assert (second["power_w"], second["energy_j"], second["utilization"]) == (None, None, None)
    assert (second["clock_mhz"], second["temperature_c"]) == (1980.0, 61.0)
    machine.facts(*(f"lacks 0 {s}" for s in ("memory", "temperature", "clock")))
    first = machine.do("samples")[0]
    assert (first["memory_gb"], first["temperature_c"], first["clock_mhz"]) == (None, None, None)
    assert machine.do("gpus")[0]["memory_gb"] == 0.0


def test_gpu_that_fell_off_the_bus_is_left_out_with_a_warning(machine: Machine) -> None:
    assert machine.do("describe") == {
        "name": "gpus",
        "status": "ok",
        "detail": "4 x Stub H100 (80 GiB), driver 570.86.10",
        "remedy": "",
    }
    assert len(machine.do("samples")) == 4
    machine.facts("code 2 15", "mig 0")
    assert [g["index"] for g in machine.do("gpus")] == [1, 3]
    assert [s["index"] for s in machine.do("samples")] == [0, 1, 3], "a MIG GPU that is in use is still sampled"
    check = machine.do("describe")
    assert check["status"] == "warn"
    assert "GPU 2 cannot be used: it fell off the bus" in check["detail"]
    assert "GPU 0 is split into MIG devices" in check["detail"]
    machine.facts("sensors 1 15")
    assert [s["index"] for s in machine.do("samples")] == [0, 2, 3]


def test_nvml_is_initialized_once_and_again_after_a_reset(machine: Machine) -> None:
    for _ in range(5):
        machine.do("gpus")
        machine.do("samples")
    assert machine.initializations() == ["0"]
    machine.facts("code count 9")
    assert machine.do("gpus") == []
    machine.facts("code count 1", "code init 9")
    assert machine.do("samples") == machine.do("gpus") == []
    assert "the NVIDIA driver is not loaded" in machine.do("describe")["detail"]
    assert machine.initializations() == ["0", "9"], "initialization is not retried at every call"


def test_recovery_after_an_nvml_error(machine: Machine) -> None:
    machine.facts("code count 77")
    assert machine.do("gpus") == []
    assert machine.do("describe")["detail"].endswith(": stub error")
    machine.facts()
    assert len(machine.do("gpus")) == len(machine.do("samples")) == 4


def test_sensors_recover_with_nvml(machine: Machine) -> None:
    assert len(machine.do("samples")) == 4
    machine.facts("code 1 1")
    assert machine.do("samples") == []
    machine.facts()
    assert len(machine.do("samples")) == 4


@pytest.mark.optional
@pytest.mark.anyio
async def test_no_gpus_without_a_driver() -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has a driver")
    nvml = Nvml()
    assert await nvml.gpus() == []
    assert await nvml.samples([Gpu(index=0, uuid=uuid(0))]) == []
    assert "libnvidia-ml.so.1 was not found" in nvml.describe().detail


def test_hardware_of_the_process_deployer(machine: Machine) -> None:
    hardware = machine.do("hardware")
    assert (hardware["gpus"], hardware["gpu_memory_gb"], hardware["gpu_name"]) == (4, 80.0, "Stub H100")
    assert machine.do("hardware", settings={"gpu_ids": [1, uuid(3)]})["gpus"] == 2
    assert machine.do("hardware", settings={"gpu_ids": []})["gpus"] == 0
    problems = machine.do("hardware", settings={"gpu_ids": [0, 7, "GPU-none"]})
    assert [p.partition(":")[0] for p in problems] == ["deploy.gpu_ids[1] = 7", "deploy.gpu_ids[2] = GPU-none"]
    assert f"choose from 0 ({uuid(0)}), 1" in problems[0]


def test_preflight_checks_of_gpus(machine: Machine) -> None:
    assert machine.do("preflight", gpus=4)[0]["status"] == "ok"
    (failed,) = machine.do("preflight", gpus=3, settings={"gpu_ids": [0, 1]})
    assert (failed["status"], failed["detail"][:20]) == ("fail", "3 needed, 2 usable (")
    _, warned = machine.do("preflight", gpus=1, env={"CUDA_VISIBLE_DEVICES": "3"})
    assert warned["status"] == "warn"
    assert warned["remedy"].endswith("deploy.gpu_ids")
    machine.facts(gpus=0)
    assert [c["status"] for c in machine.do("preflight")] == ["ok"], "a study without GPUs needs none"


def test_server_sees_only_its_leased_gpus(machine: Machine) -> None:
    visible = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1,3"}
    env = {"CUDA_VISIBLE_DEVICES": "0"}
    assert machine.do("launch", settings={"gpu_ids": [1, 3]}, lease=2, gpus=2, env=env) == visible
    machine.facts("code 0 15")
    by_uuid = machine.do("launch", settings={"gpu_ids": [3]}, lease=1, gpus=1)
    assert by_uuid["CUDA_VISIBLE_DEVICES"] == uuid(3), "CUDA's indices skip the lost GPU"
    assert machine.do("launch", lease=0, gpus=0) == {}, "a server without GPUs keeps its environment"


def test_cuda_visible_devices_is_respected(library: Path, tmp_path: Path) -> None:
    machine = Machine(library, tmp_path, CUDA_VISIBLE_DEVICES="2,3")
    assert machine.do("hardware")["gpus"] == 2
    assert machine.do("hardware", settings={"gpu_ids": [0, 1, 2]})["gpus"] == 3, "gpu_ids takes precedence"
    machine.end()


FOUR = [Gpu(index=i, uuid=f"GPU-{letter}{i}") for i, letter in enumerate("abcd")]


@pytest.mark.parametrize(
    ("given", "indices"),
    [
        ("", []), ("-1", []), ("NoDevFiles", []), ("3, 0", [0, 3]), ("1,9,2", [1]), ("GPU-b", [1]), ("GPU-", []),
        ("GPU-c2,0", [0, 2]),
    ],
)  # fmt: skip
def test_cuda_visible_devices_is_parsed_as_cuda_does(given: str, indices: list[int]) -> None:
    assert [g.index for g in chosen(FOUR, None, {"CUDA_VISIBLE_DEVICES": given})] == indices


def test_all_gpus_by_default() -> None:
    assert chosen(FOUR, None, {}) == FOUR
    assert chosen(FOUR, (2, "GPU-a0"), {"CUDA_VISIBLE_DEVICES": "1"}) == [FOUR[0], FOUR[2]]


@pytest.mark.parametrize("bad", [[-1], [1.5], ["7"], [True], "0,1", [None]])
def test_invalid_gpu_ids(bad: object) -> None:
    with pytest.raises(ValidationError) as caught:
        ProcessSettings.model_validate({"gpu_ids": bad})
    assert {error["loc"][0] for error in caught.value.errors()} == {"gpu_ids"}
