"""Choice of the proxy for a URL. The table covers the same cases as the test of Go's ``httpproxy`` package."""

import pytest

from autotuner.net.proxies import proxy_for

PROXY = "http://proxy:3128"


@pytest.mark.parametrize(
    ("no_proxy", "url", "proxied"),
    [
        ("", "https://10.1.2.3:6443", True),
        ("10.1.2.0/24", "https://10.1.2.3:6443", False),
        ("10.1.2.9/24", "https://10.1.2.3:6443", False),
        ("10.1.3.0/24", "https://10.1.2.3:6443", True),
        ("10.1.0.0/16,192.168.0.0/16", "https://192.168.7.1", False),
        ("fd00::/8", "https://[fd12::1]:6443", False),
        ("2001:db8::/32", "https://[fd12::1]:6443", True),
        ("10.1.2.0/24", "https://[::ffff:10.1.2.3]:6443", False),
        ("10.1.2.3", "https://10.1.2.3:6443", False),
        ("10.1.2.3:6443", "https://10.1.2.3:6443", False),
        ("10.1.2.3:443", "https://10.1.2.3:6443", True),
        ("10.1.2.3:443", "https://10.1.2.3", False),
        ("fd12::1", "https://[fd12::1]", False),
        ("[fd12::1]:443", "https://[fd12::1]", False),
        ("example.com", "https://example.com", False),
        ("example.com", "https://api.example.com", False),
        ("example.com", "https://notexample.com", True),
        (".example.com", "https://api.example.com", False),
        (".example.com", "https://example.com", True),
        ("*.example.com", "https://api.example.com", False),
        ("*.example.com", "https://example.com", True),
        ("EXAMPLE.com", "https://Api.Example.COM", False),
        ("example.com:8443", "https://example.com", True),
        ("example.com:443", "https://example.com", False),
        ("a.com, b.com", "https://b.com", False),
        ("*", "https://anything", False),
        ("", "https://localhost:8443", False),
        ("", "https://127.0.0.7", False),
        ("", "https://[::1]:8443", False),
        ("nonsense/99,,:80", "https://example.com", True),
    ],
)
def test_no_proxy(no_proxy: str, url: str, proxied: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        found = proxy_for(url, {"HTTPS_PROXY": PROXY, name: no_proxy})
        assert (found is not None) is proxied


@pytest.mark.parametrize(
    ("environ", "url", "variable"),
    [
        ({"HTTPS_PROXY": PROXY}, "https://host", "HTTPS_PROXY"),
        ({"https_proxy": PROXY}, "https://host", "https_proxy"),
        ({"HTTPS_PROXY": PROXY}, "http://host", None),
        ({"http_proxy": PROXY}, "http://host", "http_proxy"),
        ({"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, "http://host", None),
        ({"ALL_PROXY": PROXY}, "http://host", "ALL_PROXY"),
        ({"all_proxy": PROXY}, "https://host", "all_proxy"),
        ({"ALL_PROXY": PROXY, "HTTPS_PROXY": "other:1"}, "https://host", "HTTPS_PROXY"),
        ({"HTTPS_PROXY": ""}, "https://host", None),
        ({}, "https://host", None),
    ],
)
def test_precedence_of_variables(environ: dict[str, str], url: str, variable: str | None) -> None:
    found = proxy_for(url, environ)
    assert (found.variable if found else None) == variable


def test_all_proxy_can_be_ignored() -> None:
    assert proxy_for("https://host", {"ALL_PROXY": PROXY}, all_proxy=False) is None


def test_bare_address_is_an_http_proxy() -> None:
    found = proxy_for("https://host", {"HTTPS_PROXY": "proxy:3128"})
    assert found is not None
    assert found.url == PROXY


def test_password_is_never_shown() -> None:
    found = proxy_for("https://host", {"HTTPS_PROXY": "http://user:hunter2@proxy:3128"})
    assert found is not None
    assert "hunter2" not in f"{found} {found!r} {found.shown}"
    assert "proxy:3128" in found.shown


@pytest.mark.parametrize("wrong", ["http://", "http://proxy:notaport", "ftp://hunter2@proxy:21"])
def test_error_names_the_variable(wrong: str) -> None:
    with pytest.raises(ValueError, match="HTTPS_PROXY") as caught:
        proxy_for("https://host", {"HTTPS_PROXY": wrong})
    assert "hunter2" not in str(caught.value)
