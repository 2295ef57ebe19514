"""What runs launched: each object once, with whether its run is alive; a target without an answer hides no other."""

from collections.abc import Sequence
from typing import ClassVar

import anyio
import pytest
from pydantic import BaseModel, ConfigDict

import autotuner
from autotuner import LaunchedState
from autotuner.api.study_input import loaded_study
from autotuner.plugins import loading
from autotuner.store import Store
from autotuner.store.queries import StudyQueries
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import LaunchedObject
from autotuner.study.spec import PluginSpec
from autotuner.testing.fake_deployer import FakeDeployer
from autotuner.tuning.run_liveness import this_owner

FILE = {
    "name": "s",
    "deploy": {"kind": "listed"},
    "model": "Qwen/Qwen3-8B",
    "engine": "vllm",
    "workload": {"scenarios": "D(8,4)", "concurrency": 1},
    "objective": "max output_throughput",
}


class ListedSettings(BaseModel):
    """Where a target is, and how it answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = ""
    broken: bool = False
    silent: bool = False


class ListedDeployer(FakeDeployer):
    """A platform with objects of runs."""

    kind: ClassVar[str] = "listed"
    Settings: ClassVar[type[BaseModel]] = ListedSettings
    found: ClassVar[list[LaunchedObject]] = []

    async def launched_objects(self) -> Sequence[LaunchedObject]:
        """The objects; fails or never answers, as the settings say."""
        settings = self.settings
        assert isinstance(settings, ListedSettings)
        if settings.broken or not settings.host:
            raise TrialFailedError.because(FailureCause.ENVIRONMENT, f"{settings.host or 'default'} is down")
        if settings.silent:
            await anyio.sleep_forever()
        return self.found


class Installed:
    """Its entry point."""

    dist = None

    def load(self) -> type:
        return ListedDeployer


@pytest.fixture(autouse=True)
def _only_this_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    installed = loading.kinds
    monkeypatch.setattr(
        loading, "kinds", lambda group: {"listed": Installed()} if group == "deployers" else installed(group)
    )
    monkeypatch.setattr("autotuner.api.fleet.launched._PATIENCE_S", 0.05)


def store_studies(*targets: PluginSpec) -> None:
    with Store.open() as store:
        for number, target in enumerate(targets):
            spec = loaded_study(FILE).spec.model_copy(update={"name": f"s{number}", "deploy": target})
            store.studies.create(spec, source="t", digest=spec.digest, now=1.0)


def target(kind: str = "listed", **settings: object) -> PluginSpec:
    return PluginSpec.model_validate({"kind": kind, **settings})


def container(name: str, owner: str, *, runner_ended: bool = False) -> LaunchedObject:
    return LaunchedObject(kind="box", name=name, study="s0", trial=1, owner=owner, runner_ended=runner_ended)


def test_the_state_is_that_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    living = this_owner()
    ended = this_owner()
    elsewhere = this_owner().model_copy(update={"process": ""})
    with Store.open() as store:
        for owner in (living, ended):
            store.owners.register(owner)
        store.owners.end(ended.id, 1.0)
        store.owners.register(elsewhere, 1.0)
    store_studies(target(host="a"))
    found = [
        container("1", living.id),
        container("2", ended.id),
        container("3", "of another store"),
        container("4", "of another store", runner_ended=True),
        container("5", elsewhere.id),
    ]
    monkeypatch.setattr(ListedDeployer, "found", found)
    monkeypatch.setattr(StudyQueries, "all", lambda *_: pytest.fail("all studies were read"))  # pages ask all the time
    listed = autotuner.open().launched_objects()
    assert {one.name: one.state for one in listed.objects} == {
        "1": LaunchedState.IN_USE,
        "2": LaunchedState.LEFT_BEHIND,
        "3": LaunchedState.UNKNOWN,
        "4": LaunchedState.LEFT_BEHIND,
        "5": LaunchedState.UNKNOWN,
    }, "a heartbeat that looks old is watched before it counts"
    assert {one.deploy for one in listed.objects} == {"listed"}
    assert listed.unreachable == ()


def test_a_target_without_an_answer_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    store_studies(
        target(host="a"),
        target(host="b"),
        target(host="c", broken=True),
        target(host="d", silent=True),
        target(gone=1),
        target("docker"),
    )
    monkeypatch.setattr(ListedDeployer, "found", [container("1", "x")])
    listed = autotuner.open().launched_objects()
    assert [one.name for one in listed.objects] == ["1"], "two settings, the same object"
    reasons = [f"{one.deploy}: {one.reason}" for one in listed.unreachable]
    assert len(reasons) == 4
    assert "listed: c is down" in reasons
    assert "listed: no answer within 0.05 s" in reasons
    assert any("gone" in reason for reason in reasons), "a setting that no longer exists"
    assert any(reason.startswith("docker: ") for reason in reasons), "not installed here"


def test_defaults_that_no_study_uses_are_not_reported() -> None:
    assert autotuner.open().launched_objects() == autotuner.LaunchedObjects(objects=(), unreachable=())
    assert autotuner.reap() == []
