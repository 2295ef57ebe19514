"""Secrets recognized by the name they stand under, and names that only resemble one."""

from pathlib import Path

import pytest

import autotuner.simulator
from autotuner.plugins import loading
from autotuner.secrets import HIDDEN, clean, looks_secret
from autotuner.study.metric import METRICS

NAMES = [
    "HF_TOKEN",
    "api-key",
    "apiKey",
    "hfToken",
    "OPENAI_APIKEY",
    "AWS_SECRET_ACCESS_KEY",
    "awsSecretAccessKey",
    "Authorization",
    "Proxy-Authorization",
    "db_password",
    "HF_TOKEN_2",
    "HF_TOKEN_READ",
    "DB_PASS",
    "MYSQL_PWD",
    "GITHUB_PAT",
    "API_TOKENS",
    "TOKENS",
    "API_KEYS",
    "KEYS",
    "KEY",
    "SECRETS",
    "REDIS_AUTH",
    "HTTP_BASIC_AUTH",
    "AUTH",
    "COOKIE",
    "Set-Cookie",
    "SESSION_COOKIE",
    "BEARER",
    "SSH_PASSPHRASE",
    "CREDENTIAL",
    "CREDENTIALS",
    "X-API-Key",
    "PGPASSWORD",
    "privateKey",
    "clientSecret",
    "authToken",
    "accesstoken",
    "ssl_keyfile_password",
    "VAULT_SECRET_ID",
    "AZURE_SAS",
    "SIGNATURE",
    "token",
    "password",
    "hf-token",
    "admin-api-key",
    "API_KEY_PROD",
]
OTHER_NAMES = [
    "token_source",
    "token-ms",
    "tokenizer",
    "TokenSource",
    "max-tokens",
    "max_tokens",
    "tokens",
    "prefix_tokens",
    "total_token_count",
    "api_key_env",
    "api-key-file",
    "keyboard",
    "monkey",
    "-",
    "cache-type-k",
    "key",
    "kv_cache_dtype",
    "key_cache",
    "num_key_value_heads",
    "pad_token_id",
    "bos_token",
    "stop_tokens",
    "token_ids",
    "author",
    "authors",
    "pass",
    "PWD",
    "OLDPWD",
    "hub_token_secret",
    "env_secret",
    "image_pull_secrets",
    "secretName",
    "max-num-batched-tokens",
    "num-speculative-tokens",
    "long-prefill-token-threshold",
    "ssl-keyfile",
    "allow-credentials",
    "SSH_AUTH_SOCK",
    "compass",
    "bypass",
    "public_key",
    "AUTH_MODE",
    "model",
    "revision",
    "enable-prompt-tokens-details",
    "output_token_throughput",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_secrets(name: str) -> None:
    assert looks_secret(name)
    assert clean({name: "some value", "deep": [{name: ["a value", 12345678901]}]}) == {
        name: HIDDEN,
        "deep": [{name: [HIDDEN, clean({name: 12345678901})[name]]}],
    }


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_names_that_are_not_of_secrets(name: str) -> None:
    assert not looks_secret(name)
    assert clean({name: "plain"}) == {name: "plain"}


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_are_not_secrets(metric: str) -> None:
    assert not looks_secret(metric)


def test_flags_of_engines_that_are_secrets() -> None:
    """Among thousands of flags, exactly those that hold a credential."""
    names = {name for kind in loading.available("engines") for name in loading.load("engines", kind).catalog}
    lists = (Path(autotuner.simulator.__file__).parent / "flags").glob("*.txt")
    names |= {line.split()[0].removeprefix("--") for file in lists for line in file.read_text().splitlines() if line}
    assert len(names) > 500
    assert {name for name in names if looks_secret(name)} == {
        "api-key",
        "hf-token",
        "admin-api-key",
        "ssl-keyfile-password",
    }
