"""Fixtures for studies on doubles: a real store and real leases, with a scripted deployer and benchmark."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from autotuner.events.types import Event, Notice, PhaseEntered
from autotuner.plugins.deployer import BoundDeployer
from autotuner.store import Store
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.launch import Hardware
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.parameters.space import Space
from autotuner.study.spec import ConfirmSpec, EngineSpec, Model, PluginSpec, SearchSpec, StudySpec
from autotuner.study.trial import Trial, TrialRole
from autotuner.study.workload import Concurrency, Workload
from autotuner.testing.benchmark_kit import Script, ScriptedBenchmark, fixed_scenario, scripted_measurement
from autotuner.testing.fake_deployer import FakeDeployer, fake_gpus
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings
from autotuner.testing.samples import THROUGHPUT
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.trials.gpu_and_port_leases import Leases
from autotuner.tuning.trials.trial_runner import RunContext, TrialRunner
from autotuner.tuning.trials.window_repeats import WindowRepeats


class Loop:
    """Creates studies, prepares them on doubles, runs single trials, and keeps their events."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self.noted: list[Event] = []

    def spec(self, name: str = "s", *, levels: int = 1, repeats: int = 0, **search: Any) -> StudySpec:
        """Returns a study that tries ``parallel`` 1, 2 and 8 in grid order."""
        return StudySpec(
            name=name,
            model=Model(path="m"),
            engine=EngineSpec(kind="fake"),
            deploy=PluginSpec(kind="fake"),
            parameters=(Parameter(name="parallel", domain=Choices(values=(1, 2, 8))),),
            workload=Workload(
                scenarios=(fixed_scenario(),), levels=tuple(Concurrency(in_flight=2**i) for i in range(levels))
            ),
            objectives=(THROUGHPUT,),
            search=SearchSpec(**{"kind": "grid", "trials": 4, **search}),
            confirm=ConfirmSpec(repeats=repeats),
        )

    def prepared(
        self,
        spec: StudySpec | None = None,
        *,
        deployer: BoundDeployer | None = None,
        engine: FakeEngine | None = None,
        script: Script = lambda _, window: scripted_measurement(window),
        gpus: int = 0,
    ) -> Prepared:
        """Returns the study prepared with doubles in place of plugins."""
        spec = spec or self.spec()
        if isinstance(deployer, FakeDeployer) and not deployer.machine_gpus:
            deployer.machine_gpus = fake_gpus(gpus)
        return Prepared(
            spec=spec,
            engine=engine or FakeEngine(FakeEngineSettings()),
            deployer=deployer or FakeDeployer(gpus=fake_gpus(gpus)),
            benchmark=ScriptedBenchmark(script),
            hardware=Hardware(cpus=2, memory_gb=8.0, gpus=gpus),
            model=spec.model,
            space=Space(parameters=spec.parameters, constraints=tuple(map(Constraint.parse, spec.constraints))),
            default=None,
        )

    async def trial(
        self,
        prepared: Prepared,
        configuration: Configuration = DEFAULT,
        *,
        number: int = 0,
        owner: str = "me",
        repeats: WindowRepeats | None = None,
    ) -> Trial:
        """Runs one trial to its end."""
        spec = prepared.spec
        trial = Trial(study=spec.name, number=number, role=TrialRole.SEARCH, configuration=configuration)
        leases = Leases(self.store, owner_id=owner, study=spec.name, trial=number, dead=lambda: ())
        folder = self.folder / str(number)
        context = RunContext(prepared, owner, repeats=repeats or WindowRepeats())
        return await TrialRunner(context, trial, leases, folder, self.noted.append).run()

    def phases(self) -> list[str]:
        """Returns the phases entered, in order."""
        return [e.phase.value for e in self.noted if isinstance(e, PhaseEntered)]

    def notices(self) -> list[str]:
        """Returns the texts of the notices, in order."""
        return [e.text for e in self.noted if isinstance(e, Notice)]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An empty store in a temporary home."""
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    with Store.open(f"sqlite:///{tmp_path / 'autotuner.db'}") as opened:
        yield opened


@pytest.fixture
def loop(store: Store, tmp_path: Path) -> Loop:
    """Studies and trials on the store of the test."""
    return Loop(store, tmp_path)


@pytest.fixture
def another_loop(store: Store, tmp_path: Path) -> Callable[[str], Loop]:
    """Creates further loops on the same store, by name of their folder."""
    return lambda name: Loop(store, tmp_path / name)
