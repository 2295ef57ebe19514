"""Webhooks: webhook add, webhook list, webhook remove, webhook test."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from autotuner.cli.app import Json, StoreUrl, out, reporting_errors, say, show
from autotuner.cli.server.where import opened

webhooks = typer.Typer(no_args_is_help=True, help="Webhooks: messages about studies and workers to other systems.")


class FormName(StrEnum):
    """The form of the messages."""

    JSON = "json"
    SLACK = "slack"


class EventName(StrEnum):
    """Events that a webhook can receive; a test compares it with ``WebhookEvent``."""

    STUDY_FINISHED = "study.finished"
    STUDY_FAILED = "study.failed"
    WINNER_FOUND = "study.winner_found"
    BUDGET_USED = "study.budget_used"
    STUDY_WAITING = "study.waiting"
    WORKER_LOST = "worker.lost"


Identity = Annotated[str, typer.Argument(metavar="ID", help="Id of the webhook, as in autotuner webhook list.")]


@webhooks.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the webhook is for.")],
    url: Annotated[str, typer.Argument(metavar="[URL]", help="Its address; or use --url-env or --url-file.")] = "",
    form: Annotated[FormName, typer.Option("--form", help="Form of the messages.")] = FormName.JSON,
    event: Annotated[
        list[EventName] | None,
        typer.Option("--event", help="Event that it receives; repeatable.", show_default="everything"),
    ] = None,
    url_env: Annotated[str, typer.Option("--url-env", metavar="NAME", help="Variable that has the address.")] = "",
    url_file: Annotated[str, typer.Option("--url-file", metavar="FILE", help="File that has the address.")] = "",
    secret_env: Annotated[
        str, typer.Option("--secret-env", metavar="NAME", help="Variable that has the signing secret.")
    ] = "",
    secret_file: Annotated[
        str, typer.Option("--secret-file", metavar="FILE", help="File that has the signing secret.")
    ] = "",
    store: StoreUrl = None,
    json: Json = False,
) -> None:
    """Add a webhook, and print its signing secret to stdout; it cannot be shown again."""
    with reporting_errors(as_json=json):
        made = (
            opened(store)
            .webhooks()
            .add(
                name,
                url,
                form=form.value,
                events=[one.value for one in event or ()],
                url_env=url_env,
                url_file=url_file,
                secret_env=secret_env,
                secret_file=secret_file,
            )
        )
        if json:
            # Written as it is: everything else that the program prints has its secrets removed.
            sys.stdout.write(made.model_dump_json() + "\n")
        elif made.secret:
            sys.stdout.write(made.secret + "\n")
        what = "; keep the signing secret, it cannot be shown again" if made.secret else ""
        say(f"added {made.webhook.name} (id {made.webhook.id}){what}")


@webhooks.command("list")
def list_(store: StoreUrl = None, json: Json = False) -> None:
    """List webhooks with the newest attempt of each, without their addresses and secrets."""
    with reporting_errors(as_json=json):
        import time

        found = opened(store).webhooks().list()
        if json:
            out({"webhooks": found})
        else:
            from autotuner.cli.server.webhooks_page import webhooks_text

            show(webhooks_text(found, now=time.time()))


@webhooks.command("remove")
def remove(identity: Identity, store: StoreUrl = None, json: Json = False) -> None:
    """Remove a webhook, with the messages that wait for it."""
    with reporting_errors(as_json=json):
        opened(store).webhooks().remove(identity)
        if json:
            out({"removed": identity})
        else:
            say(f"removed {identity}")


@webhooks.command("test")
def send_test(identity: Identity, store: StoreUrl = None, json: Json = False) -> None:
    """Send a test message from this machine, or from that of --server."""
    with reporting_errors(as_json=json):
        attempt = opened(store).webhooks().test(identity)
        if json:
            out(attempt)
        if not attempt.delivered:
            if not json:
                say(f"not delivered: {attempt.error}")
            raise typer.Exit(1)
        if not json:
            say(f"delivered in {attempt.seconds:g} s")


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.add_typer(webhooks, name="webhook")
