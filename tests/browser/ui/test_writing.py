"""Studies created, watched, stopped and deleted in the browser; and what a session that may only read is refused."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

import autotuner
from support.web.receiver import Receiver, receiving
from support.web.server import Server, violations, watch

PATIENCE_MS = 120_000
REFUSED = re.compile(r"status of (401|403|409|422)")
"""What browsers say about requests that the server refuses, as it should here."""


@pytest.fixture
def messages() -> list[str]:
    """Errors in the console, and requests to other servers."""
    return []


@pytest.fixture
def context(browser: Browser, empty_server: Server, messages: list[str]) -> Iterator[BrowserContext]:
    """A browser that has not signed in. It is closed before the server ends, which it would otherwise keep busy."""
    made = browser.new_context()
    made.set_default_timeout(30_000)
    yield made
    made.close()
    assert [message for message in messages if not REFUSED.search(message)] == []


@pytest.fixture
def page(context: BrowserContext, empty_server: Server, messages: list[str]) -> Page:
    """A page of an administrator."""
    found = context.new_page()
    watch(found, empty_server, messages)
    found.goto(empty_server.sign_in)
    found.get_by_role("heading", name="No studies yet").wait_for()
    return found


def fill(page: Page, group: str, values: dict[str, str]) -> None:
    for label, value in values.items():
        page.get_by_role("group", name=group, exact=True).get_by_label(label, exact=True).fill(value)


def begin(page: Page, name: str) -> None:
    """Fills in the form for a study that is measured within seconds."""
    page.get_by_role("link", name="New study").click()
    page.get_by_role("link", name="Throughput with Simulated SGLang").click()
    fill(page, "Study", {"Name": name})
    page.get_by_label("Values of max-running-requests").fill("8, 32")
    page.get_by_role("button", name="Remove chunked-prefill-size").click()
    fill(page, "Load", {"Scenarios": "D(300,64)", "Concurrency": "10, 40", "Warmup": "500ms", "Duration": "1s"})
    fill(page, "Search", {"Trials": "3"})
    page.locator("summary", has_text="Settings of simulated").click()
    fill(page, "Settings of simulated", {"GPU": "RTX-4090", "Speed": "3"})


def change_as_text(page: Page) -> None:
    """Launches less, in the YAML; the form shows it."""
    page.get_by_role("radio", name="YAML").check()
    text = page.get_by_label("Study as YAML")
    box = text.bounding_box()
    assert box is not None
    assert box["width"] > 600  # it takes the place of the form beside the plan
    expect(text).to_have_value(re.compile(r"max-running-requests: \[8, 32\] #"))  # the comment stays
    text.fill(text.input_value().replace("trials: 3", "trials: 2"))
    page.get_by_role("radio", name="Form").check()
    expect(page.get_by_label("Trials", exact=True)).to_have_value("2")


def change_priority(page: Page) -> None:
    """Changes the priority of the queued study on its page, which shows its place in the queue."""
    page.get_by_role("button", name="More actions for chat-copy").press("Enter")
    page.get_by_role("button", name="Change priority…").press("Enter")
    expect(page.get_by_label("Priority", exact=True)).to_have_value("0")
    page.get_by_label("Priority", exact=True).fill("-7")
    assert violations(page) == {}
    page.keyboard.press("Enter")
    page.get_by_text("number 1 in the queue, priority -7").wait_for()
    page.get_by_role("button", name="More actions for chat-copy").press("Enter")
    page.get_by_role("button", name="Edit", exact=True).press("Enter")
    page.get_by_role("button", name="Save and start").click()
    page.wait_for_url("**/studies/chat-copy")
    page.get_by_text("number 1 in the queue, priority -7").wait_for()  # it keeps its priority


def change_priority_in(page: Page, queue: Locator) -> None:
    """Changes it where the queue shows it."""
    queue.get_by_role("button", name="-7 is the priority of chat-copy").press("Enter")
    page.get_by_role("dialog", name="Priority of chat-copy").get_by_label("Priority", exact=True).fill("5")
    page.get_by_role("button", name="Set priority").press("Enter")
    queue.get_by_role("button", name="5 is the priority of chat-copy").wait_for()


def test_a_study_is_created_from_the_form_watched_stopped_and_deleted(page: Page, empty_server: Server) -> None:
    begin(page, "chat")
    plan = page.get_by_role("region", name="Plan")
    concurrency = page.get_by_label("Concurrency", exact=True)
    concurrency.fill("0")
    expect(plan.get_by_role("status")).to_have_text("1 problem")
    expect(page.locator(".field", has=concurrency).locator(".about")).to_contain_text("0")
    plan.get_by_role("button", name="workload.concurrency").click()
    expect(concurrency).to_be_focused()
    concurrency.fill("10, 40")
    expect(plan.get_by_role("status")).to_have_text("Valid")
    expect(plan).to_contain_text("2 points")
    change_as_text(page)
    page.get_by_role("button", name="Save and start").click()
    page.wait_for_url("**/studies/chat")
    now = page.get_by_role("region", name="Now")
    now.get_by_text("trial 0").wait_for(timeout=PATIENCE_MS)

    page.get_by_role("button", name="More actions for chat").press("Enter")
    page.get_by_role("button", name="Clone…").press("Enter")
    page.get_by_label("Name of the copy").press("Enter")
    page.wait_for_url("**/new?edit=chat-copy")
    assert page.get_by_label("Name", exact=True).is_editable() is False
    page.get_by_role("button", name="Save and start").click()
    page.wait_for_url("**/studies/chat-copy")
    change_priority(page)
    page.get_by_role("link", name="Workers").click()
    queue = page.get_by_role("region", name="Queued studies")
    expect(queue.locator("tr", has_text="chat-copy")).to_contain_text("the only one is busy")
    change_priority_in(page, queue)
    expect(page.get_by_role("region", name="Workers of this store")).to_contain_text("chat")
    queue.get_by_role("button", name="Unqueue chat-copy").click()
    expect(queue.get_by_role("link", name="chat-copy")).to_have_count(0)

    queue.get_by_role("link", name="chat", exact=True).click()
    page.get_by_role("button", name="Stop chat").click()
    expect(page.locator("h1 + .badge")).to_have_text("stopped", timeout=PATIENCE_MS)
    page.get_by_role("button", name="Resume chat").wait_for()
    page.get_by_role("button", name="More actions for chat").click()
    page.get_by_role("button", name="Delete…").click()
    dialog = page.get_by_role("dialog", name="Delete chat?")
    expect(dialog).to_contain_text("cannot be undone")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="More actions for chat").click()
    page.get_by_role("button", name="Delete…").click()
    dialog.get_by_role("button", name="Delete").click()
    page.wait_for_url("**/studies")
    expect(page.locator("tbody a.name")).to_have_text(["chat-copy"])


def test_an_older_task_is_converted_and_a_refusal_is_shown(page: Page, empty_server: Server) -> None:
    page.goto(f"{empty_server.url}/new?from=file")
    page.get_by_label("Import a file").set_input_files("examples/older_task.json")
    text = page.get_by_label("Study as YAML")
    convert = page.get_by_role("button", name="Convert to a study")
    convert.wait_for()  # the file is read
    task = text.input_value()
    text.fill(task.replace('"grid_search"', '"grid_serch"'))
    convert.click()
    page.get_by_role("note").get_by_text("grid_serch").wait_for()
    text.fill(task)
    page.get_by_role("button", name="Convert to a study").click()
    expect(text).to_have_value(re.compile(r"strategy: grid"))
    page.get_by_role("radio", name="Form").check()
    expect(page.get_by_label("Strategy")).to_have_value("grid")
    page.get_by_role("button", name="Save as preset…").press("Enter")
    page.get_by_label("Name of the preset").fill("team")
    assert violations(page) == {}
    page.keyboard.press("Enter")
    page.get_by_text("Saved as preset team").wait_for()
    fill(page, "Study", {"Name": "another"})
    page.once("dialog", lambda question: question.accept())
    page.get_by_role("link", name="Autotuner").click()
    page.wait_for_url("**/studies")
    use_presets(page, empty_server)


def use_presets(page: Page, server: Server) -> None:
    """Exports a preset, imports one, begins a study with it, and deletes the first."""
    page.goto(f"{server.url}/presets")
    presets = page.get_by_role("region", name="All presets")
    with page.expect_download() as download:
        presets.get_by_role("link", name="Export team").press("Enter")
    exported = download.value.path().read_text()
    assert "strategy: grid" in exported
    assert "another" not in exported
    imported = {"name": "ours (old).yaml", "mimeType": "text/yaml", "buffer": b"engine: vllm # ours\n"}
    page.get_by_label("Import a file").set_input_files(imported)  # type: ignore[arg-type]
    expect(page.get_by_label("Name of the preset")).to_have_value("ours-old-")
    page.get_by_label("Name of the preset").fill("ours")
    page.keyboard.press("Enter")
    presets.get_by_role("link", name="ours", exact=True).press("Enter")
    expect(page.get_by_label("Name", exact=True)).to_have_value("ours")
    page.get_by_role("radio", name="YAML").check()
    expect(page.get_by_label("Study as YAML")).to_have_value("name: ours\nengine: vllm # ours\n")
    page.go_back()
    presets.get_by_role("button", name="Delete team").press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Delete").press("Enter")
    expect(presets.get_by_role("link", name="team", exact=True)).to_have_count(0)


def use_a_webhook(page: Page, receiver: Receiver) -> None:
    """Adds a webhook, tests and removes it; what the server refuses is shown at its field."""
    page.get_by_role("button", name="Add webhook…").press("Enter")
    dialog = page.get_by_role("dialog", name="Add a webhook")
    expect(page.get_by_label("Name", exact=True).nth(1)).to_be_focused()
    page.keyboard.type("ops")
    for event in ("study.finished", "study.budget_used"):
        dialog.get_by_label(event).press("Space")
    address = page.get_by_label("Address", exact=True)
    address.fill("http://10.0.0.1/")
    address.press("Enter")
    expect(page.locator(".labeled", has=address).get_by_role("alert")).to_contain_text("private network")
    assert violations(page) == {}
    address.fill(f"{receiver.url}/hooks/of-the-team")
    address.press("Enter")
    secret = page.get_by_role("status").locator("pre").text_content() or ""
    assert secret.startswith("whsec_")
    page.get_by_role("button", name="I have copied it").press("Enter")
    webhook = page.get_by_role("region", name="All webhooks").locator("tr", has_text="ops")
    expect(webhook).to_contain_text("study.failed, study.winner_found, study.waiting, worker.lost")
    receiver.statuses = [200, 500]
    for outcome in ("Delivered in", "Not delivered: status 500"):
        webhook.get_by_role("button", name="Test ops").press("Enter")
        page.get_by_role("status").filter(has_text=outcome).wait_for()
        page.keyboard.press("Escape")
    assert not any(hidden in page.content() for hidden in (secret, "of-the-team"))
    webhook.get_by_role("button", name="More actions for ops").press("Enter")
    webhook.get_by_role("button", name="Remove…").press("Enter")
    page.get_by_role("dialog", name="Remove ops?").get_by_role("button", name="Remove").press("Enter")
    page.get_by_text("No webhooks yet.").wait_for()


def use_the_doctor(page: Page) -> None:
    """Checks the server's machine and a Docker engine that settings name: what the page says is what the API says."""
    page.get_by_role("link", name="Doctor").click()
    page.get_by_role("button", name="Run the checks").press("Enter")
    page.wait_for_url("**/doctor?deploy=process")
    checks = page.get_by_role("region", name="Checks")
    checks.get_by_role("listitem").first.wait_for()
    page.get_by_role("combobox").select_option("Docker")
    page.locator("summary", has_text="Settings of the deployer").press("Enter")
    settings = page.get_by_role("textbox")
    settings.fill("docker_host: [")
    page.get_by_role("status").filter(has_text="Line 1").wait_for()
    settings.fill("docker_host: tcp://127.0.0.1:1")
    page.get_by_role("button", name="Run the checks").press("Enter")
    page.wait_for_url("**/doctor?deploy=docker")
    checks.get_by_role("heading", name="Target of the docker deployer").wait_for()
    found = autotuner.open().doctor(deploy="docker", settings={"docker_host": "tcp://127.0.0.1:1"})
    shown = checks.locator(".badge, strong").all_text_contents()
    assert shown == [text for check in found.checks for text in (check.status.value, check.name)]
    expect(checks.get_by_role("status")).to_contain_text(f"{len(found.checks)} checks: 1 failed")
    assert violations(page) == {}


def test_settings_and_a_session_that_may_only_read(
    page: Page, browser: Browser, empty_server: Server, messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTUNER_HOME", str(empty_server.home))
    page.get_by_role("link", name="Settings").click()
    page.get_by_label("Name", exact=True).fill("dashboard")
    page.get_by_role("button", name="Create token").click()
    secret = page.get_by_role("status").locator("pre").text_content() or ""
    assert secret.startswith("atk_")
    page.reload()
    tokens = page.get_by_role("region", name="All tokens")
    tokens.get_by_text("dashboard", exact=True).wait_for()
    assert secret not in page.content()
    page.get_by_role("region", name="Audited requests").get_by_text("create token").wait_for()
    with receiving() as receiver:
        use_a_webhook(page, receiver)
    use_the_doctor(page)
    page.get_by_role("link", name="Settings").click()

    created = autotuner.open().client_studies(by="test").create(STUDY)
    reader = browser.new_context()
    other = reader.new_page()
    watch(other, empty_server, messages)
    other.goto(f"{empty_server.url}/studies/{created.name}")
    other.get_by_label("Token").fill(secret)
    other.keyboard.press("Enter")
    other.get_by_role("heading", name=created.name).wait_for()
    assert other.get_by_role("button", name="Start").count() == 0
    assert other.get_by_role("link", name="Settings").count() == 0
    refused = other.evaluate(
        "name => fetch(`/api/v1/studies/${name}`, {method: 'DELETE'}).then(r => r.status)", created.name
    )
    assert refused == 403
    for path in ("/new", "/doctor", "/settings"):
        other.goto(f"{empty_server.url}{path}")
        other.get_by_role("heading", name=re.compile("only", re.IGNORECASE)).wait_for()
        assert violations(other) == {}

    tokens.get_by_role("button", name=re.compile("^Revoke dashboard")).click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(tokens.get_by_text("dashboard", exact=True)).to_have_count(0)
    other.goto(f"{empty_server.url}/studies")
    other.wait_for_url("**/sign-in*")
    reader.close()


STUDY = """
name: waits
model: Qwen/Qwen3-8B
engine: simulated
parameters: {max-running-requests: [8, 32]}
workload: {scenarios: "D(300,64)", concurrency: 8}
objective: max output_throughput
"""
