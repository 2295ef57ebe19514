"""Studies that compare answers with the default's."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest

from autotuner.benchmarks.quality.records import REFERENCE_FILE, read_reference, write
from autotuner.events.follow import read
from autotuner.events.types import Notice
from autotuner.store import Store
from autotuner.store.paths import trial_folder
from autotuner.study.quality.answers import digest_of_prompts
from autotuner.study.quality.result import QualityState
from autotuner.study.quality.spec import QualitySpec, TasksSpec
from autotuner.study.spec import ConfirmSpec, StudySpec
from autotuner.study.trial import TrialRole
from autotuner.testing.scripted_http import Asked, Reply, json_reply, scripted_server
from autotuner.tuning.ending import Ending
from autotuner.tuning.planning.resume_decision import judged_again
from support.quality.lm_eval_double import COMMAND, FAULT, write_tasks
from support.quality.speaking_servers import BROKEN, GOOD, Speaking, speaking
from support.study_runs import run

pytestmark = pytest.mark.anyio


@pytest.fixture
def deployer() -> Iterator[Speaking]:
    with ExitStack() as stack:
        made = Speaking()
        made.urls = {
            broken: stack.enter_context(scripted_server(speaking(BROKEN if broken else GOOD))).url
            for broken in (False, True)
        }
        yield made


def spec(loop: Any, **quality: Any) -> StudySpec:
    study: StudySpec = loop.spec()
    return study.replaced(quality=QualitySpec(prompts=16, tokens=4, **quality))


def states(trials: Any) -> dict[int, str | None]:
    return {t.number: t.quality.state.value if t.quality else None for t in trials}


async def test_broken_formats_are_infeasible_until_the_bounds_change(
    loop: Any, store: Store, deployer: Speaking
) -> None:
    outcome = await run(loop.prepared(spec(loop), deployer=deployer), store)
    assert states(outcome.trials) == {0: "reference", 1: "compared", 2: "compared", 3: "compared"}
    assert [t.verdict.feasible for t in outcome.trials if t.verdict] == [True, True, True, False]
    broken = outcome.trials[3]
    assert broken.verdict is not None
    [violation] = broken.verdict.violations
    assert (violation.slo, violation.hard) == ("quality", True)
    found = broken.quality
    assert found is not None
    assert found.reference == 0
    assert found.kl is not None
    assert found.kl.low > 0.05
    assert found.control is not None
    assert found.candidate is not None
    assert found.control.agreement > found.candidate.agreement
    assert (trial_folder("s", 0) / REFERENCE_FILE).exists()
    assert store.trials.all("s") == list(outcome.trials)
    record = store.studies.get("s")
    assert record is not None
    wide = loop.prepared(spec(loop, kl=50.0, disagreement=0.99), deployer=deployer)
    changed = judged_again(wide, record, list(outcome.trials))
    assert [(t.number, t.verdict.feasible) for t in changed if t.verdict] == [(3, True)]


async def test_repeats_are_not_asked_again(loop: Any, store: Store, deployer: Speaking) -> None:
    study = spec(loop).replaced(confirm=ConfirmSpec(repeats=1))
    outcome = await run(loop.prepared(study, deployer=deployer), store)
    repeats = [t for t in outcome.trials if t.role is TrialRole.CONFIRM]
    assert repeats
    assert all(t.quality is None and t.verdict is not None and t.verdict.feasible for t in repeats)
    assert 3 not in {t.repeat_of for t in repeats}


async def test_named_parameters_decide_who_is_checked(loop: Any, store: Store, deployer: Speaking) -> None:
    outcome = await run(loop.prepared(spec(loop, parameters=("other",)), deployer=deployer), store)
    assert states(outcome.trials) == {0: "reference", 1: None, 2: None, 3: None}


def test_what_is_asked_is_part_of_the_measurement(loop: Any) -> None:
    assert spec(loop, kl=50.0, time_limit_s=5.0).digest == spec(loop).digest
    assert len({spec(loop).digest, spec(loop, parameters="all").digest, loop.spec().digest}) == 3


async def test_a_resumed_study_compares_with_the_stored_answers(
    loop: Any, another_loop: Any, store: Store, deployer: Speaking
) -> None:
    study = spec(loop)
    await run(loop.prepared(study.replaced(search=study.search.replaced(trials=2)), deployer=deployer), store)
    outcome = await run(another_loop("again").prepared(study, deployer=deployer), store)
    assert states(outcome.trials) == {0: "reference", 1: "compared", 2: "compared", 3: "compared"}
    assert outcome.trials[3].verdict is not None
    assert not outcome.trials[3].verdict.feasible


async def test_candidates_are_asked_the_prompts_of_the_reference(
    loop: Any, another_loop: Any, store: Store, deployer: Speaking
) -> None:
    study = spec(loop)
    first = await run(loop.prepared(study.replaced(search=study.search.replaced(trials=1)), deployer=deployer), store)
    stored = read_reference(trial_folder("s", 0))
    assert stored is not None
    assert first.trials[0].quality is not None
    assert first.trials[0].quality.prompts == digest_of_prompts(stored.prompts)
    built_in = [f"the set of an earlier version, {n}" for n in range(16)]
    write(trial_folder("s", 0), REFERENCE_FILE, stored.replaced(prompts=tuple(built_in)))
    outcome = await run(another_loop("again").prepared(study, deployer=deployer), store)
    # the stored answers are those to other prompts
    assert states(outcome.trials) == {0: "reference", 1: "undecided", 2: "undecided", 3: "undecided"}
    found = outcome.trials[1].quality
    assert found is not None
    assert found.prompts == digest_of_prompts(built_in)
    assert stored.full.prompts in found.why


async def test_texts_are_compared_with_a_server_that_refuses_probabilities(
    loop: Any, store: Store, deployer: Speaking
) -> None:
    good = speaking(GOOD)

    def without(asked: Asked) -> Reply:
        if asked.method != "GET" and "logprobs" in asked.json:
            return json_reply({"error": {"message": "no logprobs with speculative decoding"}}, 400)
        return good(asked)

    with scripted_server(without) as running:
        deployer.urls[True] = running.url
        outcome = await run(loop.prepared(spec(loop), deployer=deployer), store)
    checked = next(t for t in outcome.trials if t.configuration.values.get("parallel") == 8)
    assert checked.quality is not None
    assert checked.quality.state is QualityState.COMPARED
    assert checked.quality.kl is None


async def test_without_the_default_s_answers_nothing_that_is_checked_may_win(
    loop: Any, another_loop: Any, store: Store, deployer: Speaking
) -> None:
    study = spec(loop)
    await run(loop.prepared(study.replaced(search=study.search.replaced(trials=1)), deployer=deployer), store)
    (trial_folder("s", 0) / REFERENCE_FILE).unlink()
    outcome = await run(another_loop("again").prepared(study, deployer=deployer), store)
    assert states(outcome.trials) == {0: "reference", 1: "undecided", 2: "undecided", 3: "undecided"}
    assert [t.verdict.feasible for t in outcome.trials if t.verdict] == [True, False, False, False]
    assert all(t.quality is not None and REFERENCE_FILE in t.quality.why for t in outcome.trials[1:])
    assert outcome.ending is Ending.DEFAULT_ONLY


def with_tasks(loop: Any, folder: Path, *names: str, **changes: Any) -> StudySpec:
    """The study with tasks that the good servers solve, and bounds that leave the decision to these."""
    source = Random(1)
    items = []
    for n in range(40):
        made = GOOD.answer(f"question {n}", 8, source)
        items.append((f"question {n}", " ".join(t.text for t in made)))
    there = write_tasks(folder / "tasks", {"facts": items})
    tasks = TasksSpec(names=names or ("facts",), limit=40, include=str(there), command=COMMAND)
    return spec(loop, **{"kl": 50.0, "disagreement": 0.99, "tasks": tasks, **changes})


async def test_a_drop_of_accuracy_is_infeasible_until_the_limit_changes(
    loop: Any, store: Store, deployer: Speaking, tmp_path: Path
) -> None:
    study = with_tasks(loop, tmp_path)
    outcome = await run(loop.prepared(study, deployer=deployer), store)
    assert [t.verdict.feasible for t in outcome.trials if t.verdict] == [True, True, True, False]
    default = outcome.trials[0].quality
    broken = outcome.trials[3].quality
    assert default is not None
    assert broken is not None
    [theirs] = default.tasks
    [found] = broken.tasks
    assert theirs.accuracy is not None
    assert theirs.drop is None
    assert default.tasks_s > 0
    assert found.reference == theirs.accuracy
    assert found.drop is not None
    assert found.drop.low > 0.02
    assert broken.confidence == 1 - 0.01 / 3
    assert outcome.trials[3].verdict is not None
    [violation] = outcome.trials[3].verdict.violations
    assert violation.text.startswith("facts ")
    assert violation.value == found.drop.value
    record = store.studies.get("s")
    assert record is not None
    assert study.quality is not None
    assert study.quality.tasks is not None
    lenient = study.quality.replaced(tasks=study.quality.tasks.replaced(max_drop=0.99))
    changed = judged_again(
        loop.prepared(study.replaced(quality=lenient), deployer=deployer), record, list(outcome.trials)
    )
    assert [(t.number, t.verdict.feasible) for t in changed if t.verdict] == [(3, True)]


async def test_answers_that_differ_too_much_need_no_tasks(
    loop: Any, store: Store, deployer: Speaking, tmp_path: Path
) -> None:
    outcome = await run(loop.prepared(with_tasks(loop, tmp_path, kl=0.05), deployer=deployer), store)
    assert [len(t.quality.tasks) for t in outcome.trials if t.quality] == [1, 1, 1, 0]


async def test_a_harness_that_fails_lets_nothing_pass(
    loop: Any, store: Store, deployer: Speaking, tmp_path: Path
) -> None:
    study = with_tasks(loop, tmp_path, "facts", "crash")
    outcome = await run(loop.prepared(study, deployer=deployer), store)
    assert [t.verdict.feasible for t in outcome.trials if t.verdict] == [True, False, False, False]
    assert outcome.trials[1].verdict is not None
    [violation] = outcome.trials[1].verdict.violations
    assert violation.value is None
    assert FAULT in violation.text
    notices = [e.text for e in read(store, "s") if isinstance(e, Notice)]
    assert any("no checked configuration can win" in text and FAULT in text for text in notices)


async def test_a_server_that_cannot_be_asked_is_reported_at_once(loop: Any, store: Store) -> None:
    outcome = await run(loop.prepared(spec(loop)), store)  # the double answers no requests
    default = outcome.trials[0].quality
    assert default is not None
    assert default.state is QualityState.REFERENCE
    assert default.why
    assert states(outcome.trials)[1] == "undecided"
    notices = [e.text for e in read(store, "s") if isinstance(e, Notice)]
    assert any("quality" in text and default.why in text for text in notices)
