"""One trial, on every path: a verdict or a named cause comes back, whatever happens, and nothing is left."""

from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.study.base import Value
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.failure import Blame, Failure, FailureCause, TrialFailedError
from autotuner.study.launch import LaunchPlan
from autotuner.study.measurement import Measurement, SelfCheck
from autotuner.study.trial import TrialState
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.testing.fake_deployer import Behavior, FakeDeployer, FakeEndpoint
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings

pytestmark = pytest.mark.anyio
EIGHT = Configuration(values={"parallel": 8})


class GpuEngine(FakeEngine):
    """Uses a GPU for each slot."""

    def gpus(self, values: Any) -> int:
        return int(values.get("parallel", 1))


class ListenEngine(FakeEngine):
    """Calls the flags of its address otherwise than most."""

    def plan(self, *args: Any) -> LaunchPlan:
        return super().plan(*args).replaced(host_flag="--listen-host", port_flag="--listen-port")


@pytest.fixture(autouse=True)
def nothing_is_left(loop: Any) -> Iterator[None]:
    """After every trial, however it ended."""
    yield
    assert [r for r in loop.store.leases.all() if r.owner_id == "me"] == []


async def for_ever(_: Endpoint, __: Window) -> Measurement:
    await anyio.sleep_forever()
    raise AssertionError("unreachable")


def deployer_of(**behavior: Any) -> FakeDeployer:
    return FakeDeployer(behavior=lambda _: Behavior(**behavior))


async def test_a_trial_that_goes_well(loop: Any) -> None:
    deployer = FakeDeployer()
    prepared = loop.prepared(loop.spec(levels=2), deployer=deployer)
    trial = await loop.trial(prepared, EIGHT)
    assert (trial.state, trial.failure) == (TrialState.DONE, None)
    assert trial.verdict is not None
    assert (trial.verdict.feasible, trial.verdict.objectives) == (True, (pytest.approx(100.0),))
    assert "--parallel=8" in trial.argv
    assert trial.identity is not None
    assert [m.level.text for m in trial.measurements] == ["concurrency=1", "concurrency=2"]
    assert loop.phases() == [
        "launching",
        "launching",
        "loading",
        "ready",
        "warming",
        "measuring",
        "warming",
        "measuring",
        "scoring",
        "releasing",
        "done",
    ]
    assert set(trial.phases) == {"queued", *loop.phases()} - {"done"}
    assert trial.started_at is not None
    assert trial.finished_at is not None
    assert len(deployer.released) == 1
    assert deployer.live == []


async def test_each_window_has_records_of_its_own(loop: Any) -> None:
    prepared = loop.prepared(loop.spec(levels=3))
    trial = await loop.trial(prepared)
    names = [m.records for m in trial.measurements]
    assert len(set(names)) == 3
    assert {w.folder for w in prepared.benchmark.windows} == {loop.folder / "0"}


@pytest.mark.parametrize("cause", list(FailureCause))
async def test_a_server_that_does_not_start(loop: Any, cause: FailureCause) -> None:
    failure = Failure(cause=cause, message="x", exit_code=3, log_tail="tail")
    deployer = deployer_of(fails=failure)
    prepared = loop.prepared(deployer=deployer)
    trial = await loop.trial(prepared, EIGHT)
    expected = TrialState.FAILED if failure.blame is Blame.CONFIGURATION else TrialState.VOID
    assert (trial.state, trial.failure, trial.verdict) == (expected, failure, None)
    assert not prepared.benchmark.windows
    assert len(deployer.released) == 1


async def test_a_crash_under_load(loop: Any) -> None:
    deployer = deployer_of(dies_after_s=0.05, exit_code=-11, log="segmentation fault")
    trial = await loop.trial(loop.prepared(deployer=deployer, script=for_ever))
    assert (trial.state, trial.verdict, trial.measurements) == (TrialState.FAILED, None, ())
    assert trial.failure is not None
    assert (trial.failure.cause, trial.failure.exit_code) == (FailureCause.CRASH_UNDER_LOAD, -11)
    assert trial.failure.log_tail == "segmentation fault"
    assert len(deployer.released) == 1


@pytest.mark.parametrize("code", [-9, 137, -15, 143, -2, -1, 0])
async def test_a_server_that_is_ended_from_outside_is_not_to_blame(loop: Any, code: int) -> None:
    """SIGKILL is no evidence of a lack of memory, and a server that shuts down with 0 was asked to."""
    deployer = deployer_of(dies_after_s=0.02, exit_code=code, log="all is well")
    trial = await loop.trial(loop.prepared(deployer=deployer, script=for_ever))
    assert trial.state is TrialState.VOID
    assert trial.failure is not None
    assert (trial.failure.cause, trial.failure.exit_code) == (FailureCause.ENVIRONMENT, code)
    assert trial.failure.log_tail == "all is well"


async def test_a_crash_after_a_good_window_is_no_result(loop: Any) -> None:
    """The fast window before it must not win."""

    def script(endpoint: Endpoint, window: Window) -> Measurement:
        assert isinstance(endpoint, FakeEndpoint)
        endpoint.kill()
        return scripted_measurement(window, rate=1e9)

    trial = await loop.trial(loop.prepared(script=script))
    assert (trial.state, trial.verdict) == (TrialState.FAILED, None)
    assert trial.failure is not None
    assert trial.failure.cause is FailureCause.CRASH_UNDER_LOAD


async def test_requests_that_fail_because_the_server_dies_are_its_crash(loop: Any) -> None:
    deployer = deployer_of(dies_after_s=0.1)
    prepared = loop.prepared(deployer=deployer, script=lambda _, window: scripted_measurement(window, failed=1))
    trial = await loop.trial(prepared)
    assert trial.failure is not None
    assert trial.failure.cause is FailureCause.CRASH_UNDER_LOAD


@pytest.mark.parametrize(
    ("dies", "cause", "state"),
    [
        (0.05, FailureCause.CRASH_UNDER_LOAD, TrialState.FAILED),
        (None, FailureCause.BENCHMARK_FAILED, TrialState.VOID),
    ],
)
async def test_a_benchmark_that_fails(loop: Any, dies: float | None, cause: FailureCause, state: TrialState) -> None:
    """It is the server's failure where the server has died, and the machine's otherwise."""

    def script(_: Endpoint, __: Window) -> Measurement:
        raise TrialFailedError.because(FailureCause.BENCHMARK_FAILED, "no answer")

    trial = await loop.trial(loop.prepared(deployer=deployer_of(dies_after_s=dies), script=script))
    assert trial.failure is not None
    assert (trial.failure.cause, trial.state) == (cause, state)


async def test_a_measurement_of_another_server_is_void(loop: Any) -> None:
    trial = await loop.trial(loop.prepared(deployer=deployer_of(changes_identity=True)))
    assert (trial.state, trial.verdict, trial.measurements) == (TrialState.VOID, None, ())
    assert trial.failure is not None
    assert trial.failure.cause is FailureCause.IDENTITY_CHANGED


@pytest.mark.parametrize(
    "argv",
    [
        ("python", "-m", "server", "--model=m"),
        ("python", "-m", "server", "--model=m", "--parallel=4"),
        ("python", "-m", "server", "--model=m", "--parallel=8", "--parallel=4"),
        ("python", "-m", "server", "--model=m", "--note=--parallel=8"),
        ("python",),
    ],
)
async def test_a_tuned_value_that_does_not_reach_the_process(loop: Any, argv: tuple[str, ...]) -> None:
    """It is the tuner's defect, nothing is measured, and what was asked for is told beside what is there."""
    prepared = loop.prepared(deployer=deployer_of(argv=argv))
    trial = await loop.trial(prepared, EIGHT)
    assert trial.failure is not None
    assert (trial.state, trial.failure.cause) == (TrialState.VOID, FailureCause.VALUE_NOT_APPLIED)
    assert trial.failure.blame is Blame.TUNER
    assert "parallel=8 " in trial.failure.message
    assert not prepared.benchmark.windows


@pytest.mark.parametrize(
    ("asked", "seen", "cause"),
    [
        ("2", {"OMP_NUM_THREADS": "2"}, None),
        (2, {"OMP_NUM_THREADS": "2"}, None),
        (None, {}, None),
        ("2", {"OMP_NUM_THREADS": "4"}, FailureCause.VALUE_NOT_APPLIED),
        ("2", {}, FailureCause.VALUE_NOT_APPLIED),
        (None, {"OMP_NUM_THREADS": "4"}, FailureCause.VALUE_NOT_APPLIED),
    ],
)
async def test_a_tuned_variable_is_proven_in_the_servers_environment(
    loop: Any, asked: Value, seen: dict[str, str], cause: FailureCause | None
) -> None:
    prepared = loop.prepared(deployer=deployer_of(environment=seen))
    trial = await loop.trial(prepared, Configuration(values={"env.OMP_NUM_THREADS": asked}))
    assert (trial.failure.cause if trial.failure else None) == cause
    assert len(prepared.benchmark.windows) == (0 if cause else 1)


async def test_values_under_any_spelling_are_proven(loop: Any) -> None:
    deployer = deployer_of(argv=("python", "-m", "server", "-np", "8"))
    assert (await loop.trial(loop.prepared(deployer=deployer), EIGHT)).state is TrialState.DONE


async def test_the_address_is_left_out_of_the_command_whatever_its_flags_are_called(loop: Any) -> None:
    prepared = loop.prepared(engine=ListenEngine(FakeEngineSettings()))
    trial = await loop.trial(prepared, EIGHT)
    assert {"--listen-host", "--listen-port"} <= set(trial.argv)
    assert trial.start_command == tuple(prepared.launch(EIGHT).argv(host="", port=0)[:-4])


@pytest.mark.parametrize(
    ("requests", "foreign", "cause", "said"),
    [
        (10, 0.0, FailureCause.NOT_ANSWERING, "no request succeeded (http_500 x10)"),
        (10, 2.0, FailureCause.NOT_ANSWERING, "no request succeeded (http_500 x10)"),
        (0, 0.0, FailureCause.NOT_ANSWERING, "no request ended within 1 s"),
        (0, 2.0, FailureCause.ENVIRONMENT, "while other processes used 2.00 CPU cores"),
    ],
)
async def test_nothing_succeeds(loop: Any, requests: int, foreign: float, cause: FailureCause, said: str) -> None:
    """However fast errors come, they are no throughput."""
    prepared = loop.prepared(
        deployer=deployer_of(log="CUDA error"),
        script=lambda _, w: scripted_measurement(w, rate=1e9, requests=requests, failed=requests, foreign=foreign),
    )
    trial = await loop.trial(prepared)
    assert trial.failure is not None
    assert (trial.failure.cause, trial.verdict) == (cause, None)
    assert said in trial.failure.message
    assert trial.failure.log_tail == "CUDA error"


async def test_errors_make_a_configuration_infeasible(loop: Any) -> None:
    prepared = loop.prepared(script=lambda _, window: scripted_measurement(window, rate=1e9, failed=5))
    trial = await loop.trial(prepared)
    assert trial.verdict is not None
    assert (trial.state, trial.verdict.feasible) == (TrialState.DONE, False)


async def test_a_trial_that_takes_too_long(loop: Any) -> None:
    deployer = FakeDeployer()
    trial = await loop.trial(loop.prepared(loop.spec(trial_timeout_s=0.2), deployer=deployer, script=for_ever))
    assert trial.failure is not None
    assert (trial.state, trial.failure.cause) == (TrialState.FAILED, FailureCause.TRIAL_TIMEOUT)
    assert "0.2 s" in trial.failure.message
    assert deployer.live == []


@pytest.mark.parametrize("limit", [None, 60.0])
async def test_a_timeout_of_something_else_is_not_the_trials(loop: Any, limit: float | None) -> None:
    """It is a defect, and passes through as what it is."""

    def script(_: Endpoint, __: Window) -> Measurement:
        raise TimeoutError("a socket's")

    with pytest.raises(TimeoutError, match="a socket's"):
        await loop.trial(loop.prepared(loop.spec(trial_timeout_s=limit), script=script))


async def test_a_load_generator_that_could_not_keep_up_is_not_ranked(loop: Any) -> None:
    check = SelfCheck(client_limited=True, reasons=("loop lag p99 31 ms",))
    prepared = loop.prepared(script=lambda _, window: scripted_measurement(window, rate=1e9, self_check=check))
    trial = await loop.trial(prepared)
    assert trial.state is TrialState.DONE
    assert trial.verdict is not None
    assert not trial.verdict.rankable
    assert trial.failure is not None
    assert trial.failure.cause is FailureCause.CLIENT_LIMITED
    assert "loop lag p99 31 ms" in trial.failure.message


@pytest.mark.parametrize(
    ("foreign", "windows", "kept", "warned"),
    [
        ((0.1,), 1, 100.0, False),
        ((1.5, 0.1), 2, 101.0, False),
        ((1.5, 0.9), 2, 101.0, True),
        ((0.9, 1.5), 2, 100.0, True),
    ],
)
async def test_a_disturbed_window_is_measured_again_and_the_quietest_kept(
    loop: Any, foreign: tuple[float, ...], windows: int, kept: float, warned: bool
) -> None:
    made: list[Window] = []

    def script(_: Endpoint, window: Window) -> Measurement:
        made.append(window)
        return scripted_measurement(window, rate=99.0 + len(made), foreign=foreign[len(made) - 1])

    trial = await loop.trial(loop.prepared(script=script))
    assert len(made) == windows == len({w.records_name for w in made})
    (measured,) = trial.measurements
    assert measured.scalars["output_throughput"] == kept
    assert measured.records == made[round(kept - 100)].records_name
    assert any("2 times tried" in w for w in measured.warnings) is warned
    assert len(loop.notices()) == windows - 1


async def test_a_neighbor_that_stays_is_not_waited_for_in_every_window(loop: Any) -> None:
    busy = [2.0] * 20
    made: list[float] = []

    def script(_: Endpoint, window: Window) -> Measurement:
        made.append(busy[len(made)])
        return scripted_measurement(window, foreign=made[-1])

    spec = loop.spec(levels=6)
    trial = await loop.trial(loop.prepared(spec, script=script))
    assert len(made) == 3 * 2 + 3, "three second tries in vain, then one try each"
    assert len(trial.measurements) == 6
    assert all(any(" tried" in w for w in m.warnings) for m in trial.measurements)
    assert len(loop.notices()) == 3 + 1


async def test_a_quiet_window_gives_hope_again(loop: Any) -> None:
    script = iter([2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 0.0, 2.0, 0.1])
    taken: list[float] = []

    def measure(_: Endpoint, window: Window) -> Measurement:
        taken.append(next(script))
        return scripted_measurement(window, foreign=taken[-1])

    await loop.trial(loop.prepared(loop.spec(levels=6), script=measure))
    assert taken == [2.0] * 6 + [2.0, 0.0, 2.0, 0.1], "after the quiet one, a disturbed one is measured again"


async def test_unknown_disturbance_is_none(loop: Any) -> None:
    quiet = SelfCheck(foreign_cpu_cores=None)
    prepared = loop.prepared(script=lambda _, window: scripted_measurement(window, self_check=quiet))
    await loop.trial(prepared)
    assert len(prepared.benchmark.windows) == 1


@pytest.mark.parametrize("phase", ["loading", "measuring"])
async def test_a_cancel_releases_server_and_leases(loop: Any, phase: str) -> None:
    deployer = FakeDeployer(behavior=lambda _: Behavior(ready_after_s=60.0 if phase == "loading" else 0.0))
    engine = GpuEngine(FakeEngineSettings())
    prepared = loop.prepared(deployer=deployer, engine=engine, script=for_ever, gpus=8)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(loop.trial, prepared, EIGHT)
        with anyio.fail_after(30):
            while phase not in loop.phases():  # noqa: ASYNC110 - phases can only be looked at
                await anyio.sleep(0.01)
        assert len(loop.store.leases.all()) == 9, "eight GPUs and a port"
        tasks.cancel_scope.cancel()
    assert len(deployer.released) == 1
    assert deployer.live == []
    assert loop.store.leases.all() == []
    assert "done" not in loop.phases()


async def test_waiting_for_gpus_is_not_charged_to_the_configuration(loop: Any) -> None:
    """Another run holds the machine for longer than a trial may take."""
    other = {"owner_id": "other", "study": "t", "trial": 0, "now": 1.0, "dead": ()}
    async with anyio.create_task_group() as tasks:
        prepared = loop.prepared(loop.spec(trial_timeout_s=0.4), engine=GpuEngine(FakeEngineSettings()), gpus=1)
        await loop.trial(prepared)
        assert loop.store.leases.take(["gpu:GPU-fake-0"], **other)

        async def give_back() -> None:
            await anyio.sleep(0.8)
            loop.store.leases.release("gpu:GPU-fake-0", "other")

        tasks.start_soon(give_back)
        trial = await loop.trial(prepared, number=1)
    assert (trial.state, trial.failure) == (TrialState.DONE, None)
    assert trial.gpus == 1
    assert trial.started_at is not None
    assert trial.finished_at - trial.started_at < trial.phases["queued"]


@pytest.mark.parametrize(("ready_after_s", "state"), [(0.0, TrialState.DONE), (60.0, TrialState.FAILED)])
async def test_a_place_in_the_targets_queue_is_not_charged_either(
    loop: Any, ready_after_s: float, state: TrialState
) -> None:
    """The clock of ``trial_timeout`` stands still meanwhile, and goes on after it."""
    deployer = FakeDeployer(behavior=lambda _: Behavior(queued_s=1.0, ready_after_s=ready_after_s))
    with anyio.fail_after(30):
        trial = await loop.trial(loop.prepared(loop.spec(trial_timeout_s=0.5), deployer=deployer))
    assert trial.state is state
    assert state is TrialState.DONE or trial.failure.cause is FailureCause.TRIAL_TIMEOUT
    assert trial.phases["queued"] >= 1.0
    assert trial.finished_at - trial.started_at < trial.phases["queued"]


async def test_more_gpus_than_there_are_fail_at_once(loop: Any) -> None:
    trial = await loop.trial(loop.prepared(engine=GpuEngine(FakeEngineSettings()), gpus=4), EIGHT)
    assert trial.failure is not None
    assert (trial.state, trial.failure.cause) == (TrialState.VOID, FailureCause.GPU_UNAVAILABLE)
    assert "8 GPUs are needed, and the target has 4" in trial.failure.message


async def test_an_engine_without_words_for_an_end_leaves_a_general_one(loop: Any) -> None:
    class Silent(FakeEngine):
        def explain(self, exit_code: int | None, log_tail: str, *, ready: bool) -> Failure | None:
            return None

    silent = Silent(FakeEngineSettings())
    deployer = deployer_of(dies_after_s=0.02, exit_code=7, log="bye")
    trial = await loop.trial(loop.prepared(engine=silent, deployer=deployer, script=for_ever))
    assert trial.failure is not None
    assert trial.failure.message == "the server ended with exit code 7 under load"


async def test_what_is_measured_is_what_the_plan_says(loop: Any) -> None:
    """Fixed arguments hold for every trial, and a tuned value wins over them."""
    seen: list[LaunchPlan] = []

    def behave(plan: LaunchPlan) -> Behavior:
        seen.append(plan)
        return Behavior()

    spec = loop.spec()
    spec = spec.model_copy(update={"engine": spec.engine.model_copy(update={"args": {"np": 2, "note": "fixed"}})})
    for number, configuration in enumerate((DEFAULT, EIGHT)):
        trial = await loop.trial(
            loop.prepared(spec, deployer=FakeDeployer(behavior=behave)), configuration, number=number
        )
        assert trial.state is TrialState.DONE
    flags = [[f.name for f in plan.flags] for plan in seen]
    assert flags[0] == ["--model=m", "--parallel=2", "--note=fixed"]
    assert flags[1] == ["--model=m", "--parallel=8", "--note=fixed"]
