"""Session of a study: exclusive ownership, checks, endings, and the release of everything."""

import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from autotuner.errors import AutotunerError, EnvironmentFaultError, StudyBusyError, UsageError
from autotuner.events.follow import read
from autotuner.events.types import Notice, StudyFinished
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.store import Store, StoreError
from autotuner.store.events import EventLog
from autotuner.store.process_identity import ProcessIdentity
from autotuner.store.trials import TrialTable
from autotuner.store.webhooks.records import Webhook, WebhookEvent
from autotuner.study.check import Check, PreflightError
from autotuner.study.configuration import DEFAULT
from autotuner.study.environment_facts import Fact, differences
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.launch import LaunchPlan
from autotuner.study.measurement import Measurement
from autotuner.study.owner import Owner
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.testing.fake_deployer import Behavior, FakeDeployer
from autotuner.tuning.budget import trials_used_up
from autotuner.tuning.ending import Ending
from autotuner.tuning.liveness import attendance
from autotuner.tuning.planning.resume_decision import other_environment_problem, other_measurement_problem
from autotuner.tuning.planning.resuming.changed_settings import change_text
from autotuner.tuning.run_liveness import this_owner
from autotuner.tuning.stored_summary import NO_FINDINGS, Answer
from autotuner.tuning.study_session import cut_off_notice, run_session

pytestmark = pytest.mark.anyio
LAST_PID = int(Path("/proc/sys/kernel/pid_max").read_text())


def dead_owner(name: str = "dead") -> Owner:
    """An owner whose process has ended."""
    process = ProcessIdentity.of_this_process()._replace(pid=LAST_PID + os.getpid())
    return Owner(id=name, host=socket.gethostname(), pid=process.pid, started=1.0, process=process.text)


def assert_released(store: Store, deployer: FakeDeployer) -> None:
    """Checks that there is no lease, server or open trial, and that the owners of this process have ended."""
    assert store.leases.all() == []
    assert deployer.live == []
    assert len(deployer.released) == len(deployer.deployed)
    assert [t for t in store.trials.all("s") if t.state in {TrialState.QUEUED, TrialState.RUNNING}] == []
    assert [r for r in store.owners.all() if r.ended_at is None and r.owner.pid == os.getpid()] == []
    record = store.studies.get("s")
    assert record is not None
    assert record.owner_id is None


def kinds(store: Store) -> list[str]:
    return [e.kind for e in store.events.read("s") if e.kind not in {"phase", "progress"}]


SUMMARY = {"ending": "not_proven", "environment_fault": None}


async def test_run_from_start_to_end(loop: Any, store: Store) -> None:
    deployer = FakeDeployer()
    started = list[Owner]()
    outcome = await run_session(loop.prepared(deployer=deployer), store, source="file.yaml", on_start=started.append)
    assert outcome.state == "done"
    assert [o.pid for o in started] == [os.getpid()]
    assert {labels.owner for labels, _ in deployer.deployed} == {started[0].id}
    assert kinds(store) == ["study_started", *["trial_proposed", "trial_finished"] * 4, "study_finished"]
    record = store.studies.get("s")
    assert record is not None
    summary = dict(record.summary or {})
    answer = Answer.model_validate(summary.pop("answer"))
    assert summary.pop("findings") == outcome.findings.model_dump(mode="json")
    assert (record.state, record.source, summary) == ("done", "file.yaml", SUMMARY | {"why": outcome.why})
    assert (answer.ending, answer.trial) == (outcome.ending, 0)
    assert outcome.ending is Ending.NOT_PROVEN
    last = read(store, "s")[-1]
    assert isinstance(last, StudyFinished)
    assert last.trial is None
    assert last.payload() == {"state": "done", "why": trials_used_up(4), **SUMMARY}
    assert outcome.why == trials_used_up(4)
    assert_released(store, deployer)


async def test_study_of_a_living_process_is_refused(loop: Any, store: Store) -> None:
    prepared = loop.prepared()
    deployer = FakeDeployer()
    store.studies.create(prepared.spec, source="t", digest=prepared.spec.digest, now=1.0)
    living = this_owner()
    store.owners.register(living, 1.0)
    assert store.studies.take("s", living.id, 1.0, dead=()) is None
    with pytest.raises(StudyBusyError) as caught:
        await run_session(loop.prepared(deployer=deployer), store, source="t")
    assert caught.value.details == {"study": "s"}
    assert f"process {os.getpid()} on {socket.gethostname()}" in caught.value.message
    assert "autotuner watch s" in caught.value.remedy
    assert deployer.deployed == []
    record = store.studies.get("s")
    assert record is not None
    assert record.owner_id == living.id, "it keeps the study"
    assert [r.owner.id for r in store.owners.all() if r.ended_at is None] == [living.id]


async def test_one_of_several_concurrent_runs_wins(loop: Any, store: Store, another_loop: Callable[[str], Any]) -> None:
    deployer = FakeDeployer(max_live=1)
    errors = list[Exception]()
    done = list[str]()
    others_refused = anyio.Event()

    async def script(_: Endpoint, window: Window) -> Measurement:
        with anyio.fail_after(60):
            await others_refused.wait()
        return scripted_measurement(window)

    async def one(made: Any) -> None:
        prepared = made.prepared(deployer=deployer, script=script)
        try:
            done.append((await run_session(prepared, store, source="t")).state)
        except StudyBusyError as error:
            errors.append(error)
            if len(errors) == 2:
                others_refused.set()

    async with anyio.create_task_group() as tasks:
        for made in (loop, another_loop("a"), another_loop("b")):
            tasks.start_soon(one, made)
    assert (done, len(errors)) == (["done"], 2)
    assert [t.number for t in store.trials.all("s")] == [0, 1, 2, 3]


async def test_trial_of_a_dead_owner_is_voided_and_repeated(loop: Any, store: Store) -> None:
    reaped: list[tuple[bool, bool]] = []

    class Reaping(FakeDeployer):
        async def reap(self, is_dead: Callable[[str], bool], *, study: str | None = None) -> list[str]:
            reaped.append(
                (
                    is_dead("dead"),
                    any(
                        is_dead(r.owner.id)
                        for r in store.owners.all()
                        if r.ended_at is None and r.owner.pid == os.getpid()
                    ),
                )
            )
            assert store.trials.all("s")[0].state is TrialState.RUNNING, "servers first, then the trials"
            return ["ended process 7"]

    spec = loop.spec()
    store.studies.create(spec, source="t", digest=spec.digest, now=1.0)
    store.owners.register(dead_owner(), 1.0)
    store.studies.take("s", "dead", 1.0, dead=())
    left = Trial(study="s", number=-1, role=TrialRole.DEFAULT, configuration=DEFAULT, state=TrialState.RUNNING)
    store.trials.add(left, owner_id="dead")
    outcome = await run_session(loop.prepared(spec, deployer=Reaping()), store, source="t")
    assert reaped == [(True, False)], "only of dead owners"
    assert [(t.number, t.state, t.role) for t in outcome.trials][:2] == [(0, "void", "default"), (1, "done", "default")]
    notices = [e.text for e in read(store, "s") if isinstance(e, Notice)]
    assert notices == ["ended process 7", cut_off_notice(0)]


async def test_failed_preflight_launches_nothing(loop: Any, store: Store) -> None:
    class NotReady(FakeDeployer):
        async def preflight(self, plans: Iterable[LaunchPlan]) -> list[Check]:
            return [
                Check.fail("program", "no server here", remedy="install it"),
                Check.warn("ports", "few"),
                Check.fail("model", "missing"),
            ]

    deployer = NotReady()
    with pytest.raises(PreflightError) as caught:
        await run_session(loop.prepared(deployer=deployer), store, source="t")
    assert str(caught.value) == "program: no server here; install it\nmodel: missing"
    assert isinstance(caught.value, EnvironmentFaultError)
    assert deployer.deployed == []
    assert store.trials.all("s") == []
    assert_released(store, deployer)


async def test_changed_measurement_is_refused(loop: Any, store: Store) -> None:
    spec = loop.spec()
    await run_session(loop.prepared(spec), store, source="t")
    other = spec.model_copy(
        update={"min_success_rate": 0.5, "slos": (), "model": spec.model.model_copy(update={"path": "n"})}
    )
    deployer = FakeDeployer()
    with pytest.raises(UsageError) as caught:
        await run_session(loop.prepared(other, deployer=deployer), store, source="t")
    changed = change_text("model.path", spec.model.path, "n")
    assert caught.value.problems == (other_measurement_problem("s", [changed]),)
    assert deployer.deployed == []
    record = store.studies.get("s")
    assert record is not None
    assert record.spec == spec


async def test_changed_secret_is_refused_and_not_shown(loop: Any, store: Store) -> None:
    def with_token(token: str) -> Any:
        spec = loop.spec()
        engine = spec.engine.model_copy(update={"env": {"HF_TOKEN": token}})
        return loop.prepared(spec.model_copy(update={"engine": engine}))

    await run_session(with_token("hf_first_one"), store, source="t")
    again = await run_session(with_token("hf_first_one"), store, source="t")
    assert len(again.trials) == 4
    with pytest.raises(UsageError) as caught:
        await run_session(with_token("hf_second_one"), store, source="t")
    assert caught.value.problems == (other_measurement_problem("s", []),)
    assert "hf_" not in str(caught.value)


async def test_changed_base_version_is_refused(loop: Any, store: Store) -> None:
    """Results of two versions of a runtime cannot be compared; without results the version may change."""
    void = Failure(cause=FailureCause.ENVIRONMENT, message="not now")
    ill = FakeDeployer(behavior=lambda _: Behavior(fails=void))
    with pytest.raises(AutotunerError, match="not now"):
        await run_session(replace(loop.prepared(deployer=ill), base_version="runtime r, 1"), store, source="t")
    two = replace(loop.prepared(loop.spec(trials=2)), base_version="runtime r, 2")
    await run_session(two, store, source="t")
    deployer = FakeDeployer()
    prepared = loop.prepared(loop.spec(trials=4), deployer=deployer)
    with pytest.raises(UsageError) as caught:
        await run_session(replace(prepared, base_version="runtime r, 3"), store, source="t")
    changed = differences({"runtime": Fact(state="runtime r, 2")}, {"runtime": Fact(state="runtime r, 3")})
    assert caught.value.problems == (other_environment_problem("s", changed),)
    assert deployer.deployed == []
    assert_released(store, deployer)
    again = await run_session(replace(prepared, base_version="runtime r, 2"), store, source="t")
    assert len(again.trials) >= 4


async def test_larger_budget_resumes(loop: Any, store: Store) -> None:
    first = await run_session(loop.prepared(loop.spec(trials=2)), store, source="t")
    deployer = FakeDeployer()
    second = await run_session(loop.prepared(loop.spec(trials=4), deployer=deployer), store, source="t")
    assert (len(first.trials), len(second.trials), len(deployer.deployed)) == (2, 4, 2)
    record = store.studies.get("s")
    assert record is not None
    assert record.spec.search.trials == 4


class Held:
    """A benchmark whose windows, after the default's, last until the session ends."""

    def __init__(self, store: Store, then: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._then = then

    async def __call__(self, _: Endpoint, window: Window) -> Measurement:
        if window.labels.trial == 0:
            return scripted_measurement(window)
        self._then()
        await anyio.sleep_forever()
        raise AssertionError("unreachable")


async def test_stop_request_ends_the_run_and_it_can_resume(
    loop: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attendance, "STOP_POLL_S", 0.02)
    deployer = FakeDeployer()
    script = Held(store, lambda: store.studies.request_stop("s"))
    with anyio.fail_after(60):
        outcome = await run_session(loop.prepared(deployer=deployer, script=script), store, source="t")
    assert outcome.state == "stopped"
    assert "stopped" in outcome.why
    assert [t.state for t in store.trials.all("s")] == ["done", "void"]
    assert_released(store, deployer)
    resumed = await run_session(loop.prepared(), store, source="t")
    assert [t.state for t in resumed.trials] == ["done", "void", "done", "done", "done"]
    assert resumed.trials[0] == outcome.trials[0], "an old request does not end a new run"


async def test_cancellation_releases_everything(loop: Any, store: Store) -> None:
    deployer = FakeDeployer()
    measuring = anyio.Event()
    prepared = loop.prepared(deployer=deployer, script=Held(store, measuring.set))
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await run_session(prepared, store, source="t")

        tasks.start_soon(run)
        await measuring.wait()
        tasks.cancel_scope.cancel()
    record = store.studies.get("s")
    assert record is not None
    assert record.state == "interrupted"
    assert [t.state for t in store.trials.all("s")] == ["done", "void"]
    assert_released(store, deployer)


def told(store: Store) -> list[str]:
    """Kinds of the messages for webhooks that no server has claimed yet, in order; claims them."""
    return [message.kind.value for message in store.webhooks.claim("server", ["ops"], most=9, for_s=60)]


async def test_a_used_budget_is_told_once_and_before_the_proof(loop: Any, store: Store) -> None:
    webhook = {"id": "ops", "name": "ops", "form": "json", "events": tuple(WebhookEvent), "created_at": 0.0}
    sources = {"target": "", "url_source": "kept", "secret_source": "kept"}
    store.webhooks.add(Webhook.model_validate({**webhook, **sources}))
    during_proof = list[str]()

    def script(_: Endpoint, window: Window) -> Measurement:
        if window.labels.trial >= 4:
            during_proof.extend(told(store))
        return scripted_measurement(window)

    spec = loop.spec(repeats=2)
    outcome = await run_session(loop.prepared(spec, script=script), store, source="t")
    assert outcome.why == trials_used_up(4)
    assert during_proof == ["study.budget_used"]
    assert "study.budget_used" not in told(store)
    await run_session(loop.prepared(spec), store, source="t")
    assert "study.budget_used" not in told(store), "the search had ended before"
    store.trials.amend("s", [(store.trials.all("s")[3].replaced(state=TrialState.VOID), {})], 1.0)
    await run_session(loop.prepared(spec), store, source="t")
    assert "study.budget_used" in told(store), "the search went on, and has used up its budget again"


@pytest.mark.parametrize("error", [ValueError("ours"), StoreError("the disk is full")])
async def test_error_releases_everything(loop: Any, store: Store, error: Exception) -> None:
    def script(_: Endpoint, __: Window) -> Measurement:
        raise error

    deployer = FakeDeployer()
    with pytest.raises(type(error), match=str(error)):
        await run_session(loop.prepared(deployer=deployer, script=script), store, source="t")
    record = store.studies.get("s")
    assert record is not None
    environment = isinstance(error, StoreError)
    ended = {"ending": "environment_fault" if environment else "failed", "environment_fault": environment}
    summary = dict(record.summary or {})
    assert Answer.model_validate(summary.pop("answer")).trial is None
    assert summary.pop("findings") == NO_FINDINGS.model_dump(mode="json")
    assert (record.state, summary) == ("failed", {"why": str(error), **ended})
    assert_released(store, deployer)


@pytest.mark.parametrize(("table", "call"), [(EventLog, "append"), (TrialTable, "finish")])
async def test_error_of_the_store_is_raised_bare(
    loop: Any, store: Store, monkeypatch: pytest.MonkeyPatch, table: type, call: str
) -> None:
    """Journal and runner write concurrently; the error of either of them is raised without a group."""
    real = getattr(table, call)
    failed = list[bool]()

    def fail_once(self: object, *args: object, **kwargs: object) -> object:
        if not failed:
            failed.append(True)
            raise StoreError("the disk is full")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(table, call, fail_once)
    deployer = FakeDeployer()
    with anyio.fail_after(60), pytest.raises(StoreError, match="the disk is full"):
        await run_session(loop.prepared(deployer=deployer), store, source="t")
    monkeypatch.undo()
    assert_released(store, deployer)
    if call == "append":
        assert [t.state for t in store.trials.all("s")] == ["done"], "a result is stored even where its events are not"


async def test_defect_takes_precedence_over_a_fault() -> None:
    fault = StoreError("full")
    defect = KeyError("ours")
    assert attendance.cause(ExceptionGroup("", [fault, ExceptionGroup("", [defect])])) is defect
    assert attendance.cause(ExceptionGroup("", [ExceptionGroup("", [fault, StoreError("again")])])) is fault
