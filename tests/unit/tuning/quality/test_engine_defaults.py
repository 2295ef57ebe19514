"""Studies of several engines whose defaults are compared with one another."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest

from autotuner.benchmarks.quality.records import REFERENCE_FILE
from autotuner.report.engine_defaults import engine_lines
from autotuner.report.result import study_result
from autotuner.store import Store
from autotuner.store.paths import trial_folder
from autotuner.study.quality.spec import QualitySpec, TasksSpec
from autotuner.study.trial import Trial
from autotuner.testing.fake_deployer import Behavior
from autotuner.testing.scripted_http import scripted_server
from autotuner.testing.toy_model import ToyModel
from autotuner.tuning.study_session import Outcome, run_session
from support.quality.lm_eval_double import COMMAND, write_tasks
from support.quality.speaking_servers import BROKEN, GOOD, Speaking, speaking
from support.studies.engines import entry, prepared, study
from support.study_runs import MEMORY

pytestmark = pytest.mark.anyio

QUALITY = QualitySpec(prompts=16, tokens=4, parameters="auto")


@pytest.fixture
def speakers() -> Iterator[dict[str, Speaking]]:
    """Servers of engines a and c answer alike, those of b have broken number formats."""
    with ExitStack() as stack:
        made = {}
        for name, model in (
            ("a", GOOD),
            ("b", BROKEN),
            ("c", ToyModel(noise=0.02, error=0.02, server="another engine")),
        ):
            made[name] = Speaking()
            url = stack.enter_context(scripted_server(speaking(model))).url
            made[name].urls = {False: url, True: url}
        yield made


async def ran(loop: Any, store: Store, speakers: dict[str, Speaking], quality: QualitySpec) -> Outcome:
    spec = study(entry("a", 2), entry("b", 2), entry("c", 2), confirm={"repeats": 0}).replaced(quality=quality)
    return await run_session(prepared(loop, spec, dict(speakers)), store, source="t")


def of(engine: str, outcome: Outcome) -> list[Trial]:
    return [t for t in outcome.trials if t.configuration.values.get("engine", "a") == engine]


async def test_an_engine_whose_default_differs_cannot_win(
    loop: Any, store: Store, speakers: dict[str, Speaking]
) -> None:
    outcome = await ran(loop, store, speakers, QUALITY)
    feasible = {name: {t.verdict.feasible for t in of(name, outcome) if t.verdict} for name in "abc"}
    assert feasible == {"a": {True}, "b": {False}, "c": {True}}
    assert all(t.quality is None or t.quality.engine is None for t in of("a", outcome))
    for trial in of("b", outcome):
        assert trial.quality is not None
        assert trial.quality.engine is not None
        assert trial.quality.engine.reference == 0
        assert trial.verdict is not None
        assert "its engine's reference agrees with trial 0" in trial.verdict.violations[0].text
    assert {t.quality.prompts for t in outcome.trials if t.quality} == {outcome.trials[0].quality.prompts}  # type: ignore[union-attr]


async def test_what_changes_no_arithmetic_inherits_from_the_default(
    loop: Any, store: Store, speakers: dict[str, Speaking]
) -> None:
    outcome = await ran(loop, store, speakers, QUALITY.replaced(parameters=("other",)))
    default, tuned = of("b", outcome)
    assert default.quality is not None
    assert tuned.quality is not None
    assert tuned.quality.state.value == "inherited"
    assert tuned.quality.engine == default.quality.engine
    assert [t.verdict.feasible for t in (default, tuned) if t.verdict] == [False, False]
    assert [t.verdict.feasible for t in of("c", outcome) if t.verdict] == [True, True]
    assert [t.quality.state.value if t.quality else None for t in of("a", outcome)] == ["reference", None]


async def test_accuracy_is_compared_with_the_baseline(
    loop: Any, store: Store, speakers: dict[str, Speaking], tmp_path: Path
) -> None:
    source = Random(1)
    made = [(f"question {n}", GOOD.answer(f"question {n}", 8, source)) for n in range(40)]
    items = [(question, " ".join(t.text for t in answer)) for question, answer in made]
    there = write_tasks(tmp_path / "tasks", {"facts": items})
    tasks = TasksSpec(names=("facts",), limit=40, include=str(there), command=COMMAND)
    lenient = QUALITY.replaced(kl=50.0, disagreement=0.99, tasks=tasks)
    outcome = await ran(loop, store, speakers, lenient)
    assert {t.verdict.feasible for t in of("a", outcome) if t.verdict} == {True}
    for trial in of("b", outcome):
        assert trial.verdict is not None
        assert trial.verdict.violations[0].text.startswith("facts ")
    assert outcome.trials[0].quality is not None
    assert outcome.trials[0].quality.confidence == 1 - 0.01 / 4


async def test_without_the_baseline_s_answers_no_other_engine_may_win(
    loop: Any, store: Store, speakers: dict[str, Speaking]
) -> None:
    class Forgetful(Speaking):
        """Loses the baseline's answers before the other engines start."""

        def __init__(self, urls: dict[bool, str]) -> None:
            super().__init__()
            self.urls = urls

        def deploy(self, plan: Any, context: Any) -> Any:
            (trial_folder("s", 0) / REFERENCE_FILE).unlink(missing_ok=True)
            return super().deploy(plan, context)

    forgetful = {**speakers, "b": Forgetful(speakers["b"].urls)}
    outcome = await ran(loop, store, forgetful, QUALITY)
    default = of("b", outcome)[0]
    assert default.verdict is not None
    assert "the baseline's answers are missing" in default.verdict.violations[0].text


async def test_without_a_baseline_that_starts_no_other_engine_has_a_known_quality(
    loop: Any, store: Store, speakers: dict[str, Speaking]
) -> None:
    speakers["a"] = Speaking(behavior=lambda _: Behavior(fails=MEMORY))
    spec = study(entry("a"), entry("b"), confirm={"repeats": 0}).replaced(quality=QUALITY)
    outcome = await run_session(prepared(loop, spec, dict(speakers)), store, source="t")
    assert engine_lines(study_result(spec, "done", outcome.trials)) == [
        "The default of b (trial 1): quality not decided: the reference of its engine cannot be compared with the "
        "study's: trial 0 failed."
    ]
