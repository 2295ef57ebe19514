"""Submission of studies: what is stored in the queue, and what is refused before it gets there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.errors import StudyBusyError, UsageError
from autotuner.events.types import StudyFinished
from autotuner.store import Store
from autotuner.study_file.writer import render_study
from autotuner.tuning.run_liveness import this_owner

Written = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes a study file."""

    def write(name: str = "s", **changes: Any) -> Path:
        study = {
            "name": name,
            "model": "Qwen/Qwen3-8B",
            "engine": "vllm",
            "workload": {"scenarios": "D(8,4)", "concurrency": 1},
            "objective": "max output_throughput",
            **changes,
        }
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(study))
        return path

    return write


def test_a_new_study_is_stored_and_queued(written: Written) -> None:
    tuner = autotuner.open()
    entry = tuner.submit(written(worker="gpu=h100"), priority=3, by="me")
    assert (entry.position, entry.priority, entry.labels, entry.submitted_by) == (1, 3, {"gpu": "h100"}, "me")
    overview = tuner.overview("s")
    assert (overview.state, overview.standing, overview.position) == ("new", "queued", 1)
    assert overview.source == str(written())


def test_the_settings_of_the_submitting_machine_are_not_part_of_it(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("deploy: {process: {stop_grace: 1}}\n")
    monkeypatch.setenv("AUTOTUNER_SITE", str(site))
    loaded = autotuner.read_study(written())
    assert loaded.spec.deploy.settings == {"stop_grace": 1}
    autotuner.open().submit(loaded)
    with Store.open() as store:
        assert store.queue.job("s").spec.deploy.settings == {}


def test_a_secret_is_refused(written: Written) -> None:
    study = written(engine={"kind": "vllm", "env": {"HF_TOKEN": "hunter2-of-the-file"}})
    with pytest.raises(UsageError, match="secret"):
        autotuner.open().submit(study)
    assert not autotuner.open().is_stored("s")


def test_a_study_that_measures_something_else_is_refused(stored: str, written: Written) -> None:
    tuner = autotuner.open()
    spec = tuner.study(stored).spec
    file = written().with_suffix(".yaml")
    file.write_text(render_study(spec.model_copy(update={"search": spec.search.replaced(trials=50)})))
    assert tuner.submit(file).position == 1
    file.write_text(render_study(spec.model_copy(update={"model": spec.model.replaced(path="other")})))
    with pytest.raises(UsageError, match="measured differently"):
        tuner.submit(file)


def test_settings_that_only_the_site_file_gave_the_stored_study_are_no_difference(stored: str) -> None:
    tuner = autotuner.open()
    spec = tuner.study(stored).spec
    with Store.open() as store:
        sited = spec.deployed(lambda d: d.replaced(cpus=[0]))
        store.studies.update_spec(stored, sited, digest=sited.digest, source="f")
    assert tuner.submit(spec).position == 1


def test_a_running_study_is_refused(written: Written) -> None:
    tuner = autotuner.open()
    tuner.submit(written())
    with Store.open() as store:
        assert store.queue.take(worker="w", owner=this_owner(), lease_s=20.0, labels={}, dead=()) == "s"
    with pytest.raises(StudyBusyError):
        tuner.submit(written())


@pytest.mark.parametrize("priority", [-1001, 1001])
def test_priorities_are_bounded(written: Written, priority: int) -> None:
    with pytest.raises(UsageError, match="priority"):
        autotuner.open().submit(written(), priority=priority)


def test_stop_removes_it(written: Written) -> None:
    tuner = autotuner.open()
    tuner.submit(written())
    assert tuner.stop("s")
    assert tuner.queue() == []
    assert not tuner.stop("s")
    assert tuner.overview("s").standing == "stopped"
    (ended,) = tuner.events("s")
    assert isinstance(ended, StudyFinished)
    assert (ended.state, ended.why) == ("stopped", "stopped by request before its first run began")


@pytest.mark.parametrize("state", ["running", "interrupted"])
def test_stop_ends_a_study_that_waits_to_be_resumed(written: Written, state: str) -> None:
    """Its worker died or handed it back, so nothing else would report the end of the study."""
    tuner = autotuner.open()
    tuner.submit(written())
    died = this_owner()
    with Store.open() as store:
        assert store.queue.take(worker="w", owner=died, lease_s=20.0, labels={}, dead=()) == "s"
        store.studies.set_state("s", state, None, 2.0)
        store.owners.end(died.id, 3.0)
    assert tuner.stop("s")
    assert not tuner.stop("s")
    assert (tuner.queue(), tuner.overview("s").state) == ([], "stopped")
    (ended,) = [event for event in tuner.events("s") if isinstance(event, StudyFinished)]
    assert (ended.state, ended.why.startswith("stopped by request after its run")) == ("stopped", True)


def test_starting_over_and_deleting_take_it_out_of_the_queue(written: Written) -> None:
    tuner = autotuner.open()
    tuner.submit(written())
    dated = tuner.start_over("s")
    assert tuner.queue() == []
    tuner.submit(written())
    tuner.delete("s")
    assert tuner.queue() == []
    assert [record.name for record in tuner.studies()] == [dated]


def test_an_edit_that_waits_for_the_next_start_gives_way_to_a_submission(stored: str) -> None:
    tuner = autotuner.open()
    spec = tuner.study(stored).spec
    longer = spec.model_copy(update={"search": spec.search.replaced(trials=77)})
    tuner.client_studies(by="x", trusted=True, roots=[Path("/models")]).edit(stored, render_study(longer))
    assert "trials: 77" in tuner.client_studies(by="x").file(stored)
    tuner.submit(spec)
    assert "trials: 77" not in tuner.client_studies(by="x").file(stored)
