"""Secrets recognized by form and value, what only resembles one, and their removal from text and data."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from autotuner import secrets
from autotuner.errors import HIDDEN_VALUE, Problem
from autotuner.secrets import (
    HIDDEN,
    clean,
    clean_document,
    clean_model,
    clean_text,
    has_secret_form,
    known,
    secrets_in,
)
from autotuner.secrets.cleaning import _Cleaner
from autotuner.study.configuration import Configuration

FORMS = [
    "hf_abcdefghijKLMNOP1234", "sk-abcdefGHIJ1234", "sk-proj-abcdefGHIJ1234", "ghp_abcdefGHIJ1234",
    "gho_abcdefGHIJ1234", "github_pat_11ABCDEFG0abcdef", "glpat-abcdefGHIJ1234", "xoxb-1234567890-abcdef",
    "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", "AIzaSyA1234567890abcdefghij", "nvapi-abcdefGHIJ1234",
    "sk_live_abcdefGHIJ1234", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcDEF123", "Bearer abcDEF123456",
    "Basic dXNlcjpwYXNz", "npm_abcdefghij1234567890", "https://user:pa55word@example.com/x",
    "postgresql://me:pa55@word@db:5432/x", "https://abcDEF123@github.com/a/b", "http://host/p?api_key=abcDEF12",
    "http://host/p?a=1&sig=abcDEF12", "https://h/p?X-Amz-Signature=abcdef12",
    "-----BEGIN PRIVATE KEY-----\nMIIabcdefgh\n-----END PRIVATE KEY-----", "HF_TOKEN=abc", "--api-key abc",
    "--hf-token=abc", "{\"password\": \"x y\"}", "{'api_key': ['abc']}", "X-API-Key: abcDEF12",
    "dckr_pat_abcdefGHIJ",
]  # fmt: skip
OTHER_TEXTS = [
    "api-key: is a secret, and a command line is public", "token: expected a string", "missing bearer token",
    "bearer authentication required", "export HF_TOKEN of that account", 'HF_TOKEN="$HF_TOKEN" vllm serve x',
    "max_tokens=64 total_tokens: 12345678", "hf_transfer hf_overrides", "task-Force99 disk-Usage99", "user@example.com",
    "http://127.0.0.1:8000/@x", "registry:5000/image@sha256:0123456789abcdef", "best --env-secret VAR=NAME/KEY",
    "--hub-token-secret hub/token", "git+ssh://git@github.com/a/b", "unexpected token: '<'", "tcp://10.0.0.1:2375",
    "key=value cache-type-k=q8_0", "write KEY=VALUE", "export API_KEY=... or remove it",
    "password abc is required", "0 tokens, 3 keys", "http://h/p?model=x&n=2",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_remembered", frozenset())


@pytest.mark.parametrize("text", FORMS)
def test_forms_of_secrets(text: str) -> None:
    assert HIDDEN in clean_text(f"before {text} after")
    found = [s for s in secrets_in(text) if len(s) >= 3]
    assert found
    assert not any(s in clean_text(f"before {text} after") for s in found)
    assert clean_text(text) == clean_text(clean_text(text))


@pytest.mark.parametrize("text", OTHER_TEXTS)
def test_texts_without_secrets_stay(text: str) -> None:
    assert clean_text(text) == text
    assert clean_document(text) == text


def test_the_value_of_a_secret_flag_is_the_next_argument() -> None:
    argv = ["serve", "--api-key", "abc", "--max-tokens", "5", "--hf-token", "--port", "1"]
    assert clean(argv) == ["serve", "--api-key", HIDDEN, "--max-tokens", "5", "--hf-token", "--port", "1"]
    assert list(secrets_in(argv)) == ["abc"]


def test_references_to_secrets_are_not_secrets() -> None:
    settings = {
        "hub_token_secret": {"name": "hub", "key": "token"},
        "env_from": [{"secret": "serving"}],
        "image_pull_secrets": ["registry"],
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "secretKeyRef": {"name": "a", "key": "password"},
        "api_key_env": "KEY_OF_SERVER",
    }
    assert clean(settings) == settings


def test_switches_gaps_and_counts_are_not_secrets() -> None:
    data = {"token": True, "key": None, "password": {"x": 1}, "API_TOKENS": 4096}
    assert list(secrets_in(data)) == []
    assert clean(data) == data


def test_the_longer_of_two_secrets_is_hidden_first() -> None:
    known = frozenset(secrets_in([{"token": "abcd"}, {"token": "abcdef"}, {"password": "ab"}]))
    assert clean("abcdef abcd ab", known) == f"{HIDDEN} {HIDDEN} ab"


def test_a_known_secret_is_hidden_wherever_it_appears() -> None:
    """In JSON, in a URL and in HTML as well."""
    secrets.remember({"engine": {"env": {"API_KEY": 'a"b&c/d'}}})
    secrets.remember_environment({"MY_PASS": "environment", "MY_PWD": "short"})
    for text in ('a"b&c/d', json.dumps('a"b&c/d'), "a%22b%26c%2Fd", "a&quot;b&amp;c/d", "environment"):
        assert HIDDEN in clean_document(f"<p>{text}</p>")
    assert clean_text("short") == "short"


def test_a_problem_never_repeats_a_secret() -> None:
    shown = Problem(where="study.yaml:3 engine.args.api-key[0]", value="abc", why="HF_TOKEN=abcdef is wrong")
    assert shown.value == HIDDEN_VALUE
    assert "abcdef" not in str(shown)
    assert Problem(where="engine.env.PLAIN", value="abc", why="x").value == HIDDEN_VALUE
    assert Problem(where="model", value="https://u:hidden@h/m", why="x").value == f"https://{HIDDEN}@h/m"


@given(st.text(alphabet="aA1=:-_ \"'[]/?&@.\n", max_size=200))
def test_cleaning_is_idempotent(text: str) -> None:
    assert clean_text(clean_text(text)) == clean_text(text)


@pytest.mark.parametrize(
    "piece", ["sk-", "hf_", "a:", "://", "http://a:b", "Bearer ", "a='", "token: ", "eyJaaaaaa.", "?a=b"]
)
def test_cleaning_takes_linear_time(piece: str) -> None:
    """A quadratic pattern would take minutes and exceed the test's time limit."""
    assert clean_text(piece * 40_000)


def test_whether_a_text_has_the_form_of_a_secret() -> None:
    assert has_secret_form("https://u:p@h/")
    assert not has_secret_form("Qwen/Qwen3-8B")


def test_a_value_of_several_arguments_stays_hashable() -> None:
    point = Configuration(values={"cuda-graph-bs": (1, 2), "lora-paths": ("a=/x", "hunter2-secret")})
    cleaned = secrets.clean_model(point, ["hunter2-secret"])
    assert cleaned.values == {"cuda-graph-bs": (1, 2), "lora-paths": ("a=/x", "***")}
    assert hash(cleaned.values["lora-paths"])


class _Part(BaseModel):
    count: int
    share: float | None
    text: str | int | None
    names: tuple[str, ...] = ()


class _Whole(BaseModel):
    model_config = ConfigDict(extra="allow")
    on: bool | None
    parts: tuple[_Part, ...]
    by_name: dict[str, _Part]


def test_numbers_of_models_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly everything that a long study holds are numbers."""
    part = _Part(count=1, share=0.5, text="HF_TOKEN=hf_abcdefABCDEF12", names=("--api-key", "abc"))
    plain = _Part(count=1, share=None, text=3)
    whole = _Whole(on=True, parts=(plain, part), by_name={"a": part, "b": plain}, more="--password=hunter2")  # type: ignore[call-arg]
    looked = list[str]()
    field = _Cleaner._field

    def noted(self: _Cleaner, name: str, value: object, *, refers: bool) -> object:
        looked.append(name)
        return field(self, name, value, refers=refers)

    monkeypatch.setattr(_Cleaner, "_field", noted)
    found = clean_model(whole)
    assert found.model_dump() == clean(whole.model_dump())
    assert found.parts[0] is plain
    assert found.parts[1].text == f"HF_TOKEN={HIDDEN}"
    assert found.model_dump()["more"] == f"--password={HIDDEN}"
    assert set(looked) == {"text", "names", "parts", "by_name", "more"}
