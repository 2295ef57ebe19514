"""The process that a worker starts for a study."""

import os
import subprocess

import autotuner
from autotuner.api.fleet.queued_run import Order
from autotuner.events.types import Notice
from autotuner.store import Store
from autotuner.store.webhooks.records import Webhook, WebhookEvent, WebhookForm
from autotuner.tuning.run_liveness import this_owner
from support.stored_samples import store_sample


def test_a_study_with_results_that_cannot_be_run_keeps_them_and_tells_webhooks() -> None:
    """Here its model is missing on the worker's machine."""
    spec = store_sample("winner").spec
    before = autotuner.load_result(spec.name)
    owner = this_owner()
    with Store.open() as store:
        store.webhooks.add(
            Webhook(
                id="ops",
                name="ops",
                form=WebhookForm.JSON,
                events=tuple(WebhookEvent),
                target="",
                url_source="kept",
                secret_source="kept",
                created_at=0.0,
            )
        )
        store.queue.add(spec, source="study.yaml", named=True, priority=0, by="me", dead=())
        assert store.queue.take(worker="w", owner=owner, lease_s=20.0, labels={}, dead=()) == spec.name
        order = Order(spec.name, owner.id, lease_s=20.0, drain_s=0.0)
        # Its standard input stays open: otherwise it ends, as the worker has.
        with subprocess.Popen(order.argv, stdin=subprocess.PIPE, env=os.environ) as process:
            assert process.wait(120) == 0
        (message,) = store.webhooks.claim("server", ["ops"], most=9, for_s=60)
        assert store.queue.get(spec.name) is None
    (notice,) = [event for event in autotuner.open().events(spec.name) if isinstance(event, Notice)]
    assert notice.text.startswith("not run: ")
    assert message.kind is WebhookEvent.STUDY_FAILED
    assert message.data["study"] == spec.name
    assert notice.text == f"not run: {message.data['why']}"
    assert autotuner.load_result(spec.name) == before
