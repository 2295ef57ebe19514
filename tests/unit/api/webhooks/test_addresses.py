"""Where messages may be sent."""

import ipaddress

import anyio
import pytest

from autotuner.api.webhooks.addresses import RefusedAddressError, checked_address, is_allowed, parsed_url, shown
from autotuner.errors import UsageError

PRIVATE = (
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
    *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1"),
    *("::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1", "fd00:ec2::254"),
)
PUBLIC = ("1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")


@pytest.mark.parametrize("text", PRIVATE)
def test_what_only_the_server_can_reach_is_refused(text: str) -> None:
    assert not is_allowed(ipaddress.ip_address(text), ())
    host = f"[{text}]" if ":" in text else text
    with pytest.raises(UsageError):
        parsed_url(f"http://{host}/x", ())


@pytest.mark.parametrize("text", PUBLIC)
def test_the_public_internet_is_not(text: str) -> None:
    assert is_allowed(ipaddress.ip_address(text), ())


def test_the_site_file_allows_networks() -> None:
    networks = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128")]
    allowed = [text for text in PRIVATE if is_allowed(ipaddress.ip_address(text), networks)]
    assert allowed == ["10.1.2.3", "::1", "::ffff:10.0.0.1"]
    assert parsed_url("http://10.0.0.7:8080/hook", networks).port == 8080


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ops.example.com/hook",
        "ftp://ops.example.com/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https://user:password@ops.example.com/",
        "https://token@ops.example.com/",
        "https://ops.example.com/#x",
        "https://ops.example.com:99999/",
        "http://localhost/",
        "http://0177.0.0.1/",
        "http://x.localhost/",
        "https://ops.example.com/" + 2000 * "x",
        "https://ops.exa\nmple.com/",
    ],
)
def test_what_is_no_address_of_a_webhook(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed_url(text, ())
    assert "user:password" not in str(caught.value)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost."])
def test_other_spellings_of_this_machine_lead_nowhere(host: str) -> None:
    url = parsed_url(f"http://{host}/", ())
    with pytest.raises(RefusedAddressError):
        anyio.run(checked_address, url, ())


def test_a_name_is_judged_by_where_it_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_up(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        found = {"mixed.example": ["10.0.0.1", "1.1.1.1"], "inside.example": ["fe80::1%eth0", "127.0.0.1"]}[host]
        return [(2, 1, 6, "", (address, port)) for address in found]

    monkeypatch.setattr("autotuner.api.webhooks.addresses.anyio.getaddrinfo", look_up)
    assert anyio.run(checked_address, parsed_url("https://mixed.example/x", ()), ()) == "1.1.1.1"
    with pytest.raises(RefusedAddressError, match="private network"):
        anyio.run(checked_address, parsed_url("https://inside.example/x", ()), ())


def test_only_the_host_is_shown() -> None:
    for text, expected in (
        ("https://hooks.slack.com/services/T0/B0/XXXX", "https://hooks.slack.com/..."),
        ("https://ops.example.com:8443", "https://ops.example.com:8443/"),
        ("http://[2606:4700::1]/?key=x", "http://[2606:4700::1]/..."),
    ):
        assert shown(parsed_url(text, ())) == expected
