"""The process that a worker starts for a study."""

import os
import subprocess
from functools import partial

import pytest

import autotuner
from autotuner.api.fleet.queued_run import Order
from autotuner.events.types import Notice, StudyFinished
from autotuner.store import Store
from autotuner.store.webhooks.records import Webhook, WebhookEvent, WebhookForm
from autotuner.study.configuration import DEFAULT
from autotuner.study.owner import Owner
from autotuner.study.trial import Trial, TrialRole
from autotuner.tuning.run_liveness import this_owner
from support.stored_samples import store_sample

_WEBHOOK = Webhook(
    id="ops",
    name="ops",
    form=WebhookForm.JSON,
    events=tuple(WebhookEvent),
    target="",
    url_source="kept",
    secret_source="kept",
    created_at=0.0,
)


def run(store: Store, study: str, owner: Owner, *, dead: tuple[str, ...] = ()) -> None:
    """Runs the next study of the queue as a worker does."""
    assert store.queue.take(worker="w", owner=owner, lease_s=20.0, labels={}, dead=dead) == study
    order = Order(study, owner.id, lease_s=20.0, drain_s=0.0)
    # Its standard input stays open: otherwise it ends, as the worker has.
    with subprocess.Popen(order.argv, stdin=subprocess.PIPE, env=os.environ) as process:
        assert process.wait(120) == 0


def test_a_study_with_results_that_cannot_be_run_keeps_them_and_tells_webhooks() -> None:
    """Here its model is missing on the worker's machine."""
    spec = store_sample("winner").spec
    before = autotuner.load_result(spec.name)
    owner = this_owner()
    with Store.open() as store:
        store.webhooks.add(_WEBHOOK)
        store.queue.add(spec, source="study.yaml", named=True, priority=0, by="me", dead=())
        run(store, spec.name, owner)
        (message,) = store.webhooks.claim("server", ["ops"], most=9, for_s=60)
        assert store.queue.get(spec.name) is None
    (notice,) = [event for event in autotuner.open().events(spec.name) if isinstance(event, Notice)]
    assert notice.text.startswith("not run: ")
    assert message.kind is WebhookEvent.STUDY_FAILED
    assert message.data["study"] == spec.name
    assert notice.text == f"not run: {message.data['why']}"
    assert autotuner.load_result(spec.name) == before


def test_a_study_of_another_machine_is_left_to_other_workers() -> None:
    """It has results, all of a machine that has ended, and cannot run here: its model is missing."""
    ended = this_owner().replaced(host="node-1")
    spec = store_sample("winner", owner=ended).spec
    owner = this_owner()
    with Store.open() as store:
        store.studies.release(spec.name, ended.id)
        store.owners.end(ended.id, 1.0)
        store.webhooks.add(_WEBHOOK)
        store.queue.add(spec, source="study.yaml", named=True, priority=0, by="me", dead=())
        run(store, spec.name, owner)
        entry = store.queue.get(spec.name)
        assert store.webhooks.claim("server", ["ops"], most=9, for_s=60) == []
        take = partial(store.queue.take, owner=this_owner(), lease_s=20.0, labels={}, dead=())
        assert take(worker="w") is None, "it would refuse again"
        assert take(worker="other") == spec.name
    assert entry is not None
    assert (entry.position, entry.worker_id, list(entry.refusals)) == (1, None, ["w"])
    (notice,) = [event for event in autotuner.open().events(spec.name) if isinstance(event, Notice)]
    where = f"waits for another worker: cannot be resumed on {owner.host}: "
    assert notice.text == where + entry.refusals["w"]


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("running", "stopped by request after its run had died"),
        ("interrupted", "stopped by request after its run was interrupted"),
        ("new", "stopped by request before its first run began"),
        ("stopped", ""),
    ],
)
def test_a_stop_that_the_last_run_did_not_see_ends_the_study_once(state: str, why: str) -> None:
    """A run may also die after it has recorded its end, and before it has released the study."""
    spec = store_sample("winner").spec
    died = this_owner()
    with Store.open() as store:
        store.webhooks.add(_WEBHOOK)
        store.queue.add(spec, source="study.yaml", named=True, priority=0, by="me", dead=())
        assert store.queue.take(worker="dead", owner=died, lease_s=20.0, labels={}, dead=()) == spec.name
        store.studies.set_state(spec.name, state, None, 2.0)
        trial = Trial(study=spec.name, number=0, configuration=DEFAULT, role=TrialRole.SEARCH)
        number = store.trials.add(trial, owner_id=died.id).number
        store.studies.request_stop(spec.name)
        before = len(autotuner.open().events(spec.name))
        run(store, spec.name, this_owner(), dead=(died.id,))
        assert (store.queue.get(spec.name), store.studies.holder(spec.name)) == (None, (True, None))
        messages = store.webhooks.claim("server", ["ops"], most=9, for_s=60)
    new = autotuner.open().events(spec.name)[before:]
    ended = [event for event in new if isinstance(event, StudyFinished)]
    assert [(event.state, event.why) for event in ended] == ([("stopped", why)] if why else [])
    assert [(message.kind, message.data["why"]) for message in messages] == (
        [(WebhookEvent.STUDY_FINISHED, why)] if why else []
    )
    assert autotuner.open().overview(spec.name).state == "stopped"
    cut_off = [event.text for event in new if isinstance(event, Notice)]
    assert cut_off == ([f"trial {number} was cut off when its run ended; it does not count"] if why else [])
