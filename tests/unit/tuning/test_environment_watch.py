"""Changes of what a study's numbers depend on, between runs and during one."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotuner.errors import EnvironmentFaultError, UsageError
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.store import Store
from autotuner.study.environment_facts import Fact, differences
from autotuner.study.launch import Hardware, LaunchPlan
from autotuner.study.measurement import Measurement
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.spec import Model
from autotuner.study.text.forms import parse_scenario
from autotuner.study.trial import TrialState
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.testing.fake_deployer import FakeDeployer
from autotuner.testing.fake_engine import FakeEngine
from autotuner.tuning.environment_watch import EnvironmentWatch, environment_changed
from autotuner.tuning.fingerprints import WHOLE_BYTES, Fingerprints
from autotuner.tuning.hub_models import HubModel, cached_commit
from autotuner.tuning.planning.resume_decision import other_environment_problem
from autotuner.tuning.retry_or_stop import StudyFaultError
from autotuner.tuning.study_session import run_session

pytestmark = pytest.mark.anyio


def state(path: Path) -> str:
    found = Fingerprints().of(path)
    assert found is not None
    return found.state


def test_fingerprint_of_a_file(tmp_path: Path) -> None:
    prints = Fingerprints()
    file = tmp_path / "m.gguf"
    file.write_bytes(b"one")
    first = prints.of(file)
    assert first is not None
    os.utime(file, (1, 1))
    touched = prints.of(file)
    assert touched is not None
    assert (touched.state, touched.touched != first.touched) == (first.state, True)
    file.write_bytes(b"two")
    assert state(file) != first.state, "although the size is the same"
    file.unlink()
    assert prints.of(file) is None


def test_fingerprint_of_a_large_file(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    size = WHOLE_BYTES * 4
    file.write_bytes(bytes(size))
    first = state(file)
    for at in (10, size // 2, size - 10):
        with file.open("r+b") as stream:
            stream.seek(at - at % 16)
            stream.write(os.urandom(size // 8)[: max(16, min(size // 8, size - at))])
        assert state(file) != first
        file.write_bytes(bytes(size))
    assert state(file) == first


def test_fingerprint_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    blob = tmp_path / "blob"
    folder.mkdir()
    blob.write_text("weights")
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").symlink_to(blob)
    (folder / ".git").mkdir()
    (folder / ".git" / "index").write_text("x")
    first = state(folder)
    (folder / ".git" / "index").write_text("y")
    assert state(folder) == first
    blob.write_text("others!")
    second = state(folder)
    (folder / "adapter.json").write_text("{}")
    assert len({first, second, state(folder)}) == 3


class Here(FakeDeployer):
    """A deployer of servers on this machine."""

    here = True
    reported: Mapping[str, str] = {}

    async def facts(self, plan: LaunchPlan) -> Mapping[str, str]:
        return self.reported


class Program(FakeEngine):
    """An engine whose server is a program in its own folder."""

    program = "server"

    def plan(self, *given: Any) -> LaunchPlan:
        return super().plan(*given).model_copy(update={"command": (self.program,), "needs_modules": ()})


async def world(prepared: Any) -> dict[str, str]:
    return {name: fact.state for name, fact in (await EnvironmentWatch(prepared).read()).items()}


async def test_facts_of_a_study(loop: Any, tmp_path: Path) -> None:
    files = {}
    for name in (
        "m.gguf",
        "rows.jsonl",
        "tokenizer.json",
        "draft.gguf",
        "chat.jinja",
        "build/server",
        "build/libx.so.1",
    ):
        files[name] = tmp_path / name
        files[name].parent.mkdir(exist_ok=True)
        files[name].write_text(name)
    files["build/server"].chmod(0o755)
    spec = loop.spec()
    workload = spec.workload.model_copy(
        update={
            "scenarios": (parse_scenario(f"dataset:{files['rows.jsonl']}"),),
            "tokenizer": str(files["tokenizer.json"]),
        }
    )
    args = {"draft": str(files["draft.gguf"]), "note": "no file"}
    spec = spec.model_copy(
        update={
            "workload": workload,
            "engine": spec.engine.model_copy(update={"args": args}),
            "model": Model(path=str(files["m.gguf"])),
        }
    )
    engine = Program(FakeEngine.Settings())
    engine.program = str(files["build/server"])
    deployer = Here(machine=Hardware(cpus=2, memory_gb=4))
    prepared = loop.prepared(spec, deployer=deployer, engine=engine)
    first = await world(prepared)
    assert set(first) == {
        "model",
        "dataset",
        "tokenizer",
        "machine",
        f"draft {files['draft.gguf']}",
        "server program",
        "server library libx.so.1",
    }
    watched = {
        "m.gguf": "model",
        "rows.jsonl": "dataset",
        "tokenizer.json": "tokenizer",
        "build/server": "server program",
        "build/libx.so.1": "server library libx.so.1",
    }
    for name, fact in watched.items():
        files[name].write_text("another")
        assert (await world(prepared))[fact] != first[fact]
    elsewhere = replace(prepared, deployer=FakeDeployer())
    assert set(await world(elsewhere)) == {"dataset", "tokenizer"}, "the other files are not on this machine"


async def test_packages_of_a_python_program(loop: Any, tmp_path: Path) -> None:
    site = tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    package = site / "server-0.1.dist-info"
    package.mkdir(parents=True)
    program = tmp_path / "venv" / "bin" / "server"
    program.parent.mkdir()
    program.write_text(f"#!{program.parent}/python3\nimport server\n")
    program.chmod(0o755)
    engine = Program(FakeEngine.Settings())
    engine.program = str(program)
    prepared = loop.prepared(deployer=Here(), engine=engine)
    assert (await world(prepared))["server package server"] == "server-0.1"
    package.rename(site / "server-0.2.dist-info")
    assert (await world(prepared))["server package server"] == "server-0.2"


class Hub(Program):
    """An engine that downloads its model in the revision of the argument ``note``."""

    def plan(self, *given: Any) -> LaunchPlan:
        plan = super().plan(*given)
        revision = self.flag_value(plan.argv(host="", port=0), "note")
        revisions = {"Qwen/Q": str(revision)} if revision else {}
        return plan.model_copy(update={"hub_models": ("Qwen/Q",), "hub_revisions": revisions})


class OwnHubCache(Here):
    """A deployer whose servers use another cache than the environment's."""

    hub_cache = Path()


def put_in_cache(cache: Path, **commits: str) -> None:
    """Sets the commits of the model's branches."""
    refs = cache / "models--Qwen--Q" / "refs"
    refs.mkdir(parents=True, exist_ok=True)
    for revision, commit in commits.items():
        (refs / revision).write_text(f"{commit}\n")


MAIN = "model Qwen/Q in the hub's cache"
DEV = "model Qwen/Q at revision dev in the hub's cache"


async def test_commit_of_a_hub_model(loop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    prepared = loop.prepared(deployer=Here(), engine=Hub(FakeEngine.Settings()))
    assert MAIN not in await world(prepared), "not downloaded yet"
    put_in_cache(tmp_path, main="c0ffee")
    assert (await world(prepared))[MAIN] == "revision c0ffee"


@pytest.mark.parametrize("tuned", [False, True])
async def test_commit_of_a_hub_models_branch(
    loop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tuned: bool
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    put_in_cache(tmp_path, main="c0ffee", dev="deface")
    spec = loop.spec()
    if tuned:
        spec = spec.model_copy(update={"parameters": (Parameter(name="note", domain=Choices(values=("dev", "v1"))),)})
    else:
        spec = spec.model_copy(update={"engine": spec.engine.model_copy(update={"args": {"note": "dev"}})})
    prepared = loop.prepared(spec, deployer=Here(), engine=Hub(FakeEngine.Settings()))
    commits = {name: state for name, state in (await world(prepared)).items() if name.startswith("model ")}
    default = {MAIN: "revision c0ffee"} if tuned else {}
    assert commits == {**default, DEV: "revision deface"}


async def test_deployer_with_its_own_hub_cache(loop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "of the user"))
    put_in_cache(tmp_path / "of the user", main="c0ffee")
    put_in_cache(tmp_path / "mounted", main="deface")
    deployer = OwnHubCache()
    deployer.hub_cache = tmp_path / "mounted"
    prepared = loop.prepared(deployer=deployer, engine=Hub(FakeEngine.Settings()))
    assert (await world(prepared))[MAIN] == "revision deface"


@pytest.mark.parametrize("revision", ["../../secret", "/secret", "broken", "missing"])
def test_only_commits_are_read_from_the_hub_cache(tmp_path: Path, revision: str) -> None:
    put_in_cache(tmp_path, main="c0ffee", broken="a token")
    (tmp_path / "models--Qwen--Q" / "secret").write_text("beef00")
    (tmp_path / "secret").write_text("beef00")
    named = str(tmp_path / "secret") if revision == "/secret" else revision
    assert cached_commit(HubModel("Qwen/Q", named), tmp_path) == ""
    assert cached_commit(HubModel("Qwen/Q", "main"), tmp_path) == "c0ffee"


async def test_branch_that_moved_between_two_runs(
    loop: Any, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    spec = loop.spec()
    spec = spec.model_copy(update={"engine": spec.engine.model_copy(update={"args": {"note": "dev"}})})

    def prepared() -> Any:
        return loop.prepared(spec, deployer=deployer, engine=Hub(FakeEngine.Settings()))

    deployer = Here()
    put_in_cache(tmp_path, main="c0ffee", dev="deface")
    await run_session(prepared(), store, source="t")
    launched = len(deployer.deployed)
    put_in_cache(tmp_path, main="0ff1ce")
    await run_session(prepared(), store, source="t")
    put_in_cache(tmp_path, dev="facade")
    with pytest.raises(UsageError) as caught:
        await run_session(prepared(), store, source="t")
    changed = differences({DEV: Fact(state="revision deface")}, {DEV: Fact(state="revision facade")})
    assert caught.value.problems == (other_environment_problem("s", changed),)
    assert len(deployer.deployed) == launched > 0


def file_fact(path: Path) -> Fact:
    """The fact about a file."""
    fact = Fingerprints().of(path)
    assert fact is not None
    return fact


def with_model(loop: Any, model: Path, **doubles: Any) -> Any:
    return loop.prepared(loop.spec().model_copy(update={"model": Model(path=str(model))}), **doubles)


async def test_model_replaced_between_two_runs(loop: Any, store: Store, tmp_path: Path) -> None:
    model = tmp_path / "m.gguf"
    model.write_text("one")
    await run_session(with_model(loop, model, deployer=Here()), store, source="t")
    os.utime(model, (1, 1))
    await run_session(with_model(loop, model, deployer=Here()), store, source="t")
    before = file_fact(model)
    model.write_text("another")
    deployer = Here()
    with pytest.raises(UsageError) as caught:
        await run_session(with_model(loop, model, deployer=deployer), store, source="t")
    changed = differences({"model": before}, {"model": file_fact(model)})
    assert caught.value.problems == (other_environment_problem("s", changed),)
    assert deployer.deployed == []


@pytest.mark.parametrize("during", [0, 1])
async def test_model_replaced_during_a_run(loop: Any, store: Store, tmp_path: Path, during: int) -> None:
    model = tmp_path / "m.gguf"
    model.write_text("one")
    before = file_fact(model)

    def script(_: Endpoint, window: Window) -> Measurement:
        if window.labels.trial == during:
            model.write_text("another")
        return scripted_measurement(window)

    deployer = Here()
    with pytest.raises(StudyFaultError) as caught:
        await run_session(with_model(loop, model, deployer=deployer, script=script), store, source="t")
    assert caught.value.failure == environment_changed(differences({"model": before}, {"model": file_fact(model)}))
    assert isinstance(caught.value, EnvironmentFaultError)
    assert len(deployer.deployed) == during + 1
    assert [t.state for t in store.trials.all("s")] == [TrialState.DONE] * during + [TrialState.VOID]


async def test_image_that_is_known_after_the_first_launch(loop: Any, store: Store) -> None:
    """The first trial pulls a tag, which is moved before the next run."""
    deployer = Here()

    def script(_: Endpoint, window: Window) -> Measurement:
        deployer.reported = {"image": "x:1 (sha256:a)"}
        return scripted_measurement(window)

    await run_session(loop.prepared(deployer=deployer, script=script), store, source="t")
    assert [e.kind for e in store.events.read("s")].count("world") == 1
    again = Here()
    again.reported = {"image": "x:1 (sha256:b)"}
    with pytest.raises(UsageError) as caught:
        await run_session(loop.prepared(deployer=again), store, source="t")
    changed = differences({"image": Fact(state="x:1 (sha256:a)")}, {"image": Fact(state="x:1 (sha256:b)")})
    assert caught.value.problems == (other_environment_problem("s", changed),)
