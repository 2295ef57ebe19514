"""With the model's tokenizer, or as token IDs, every prompt has exactly the requested number of tokens."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace

from autotuner.benchmarks.loadgen.prompt_words import WORDS
from autotuner.benchmarks.measuring.records import read_records
from autotuner.study.text.forms import parse_scenario
from autotuner.study.workload import Api
from autotuner.testing.mock_openai import Behavior
from support.native_windows import measured

pytestmark = pytest.mark.anyio

SHORT = {"warmup_s": 0.1, "duration_s": 10.0, "min_requests": 0, "requests": 40}


def tokenizer_of(split: tuple[str, ...]) -> Tokenizer:
    """Splits these words into two tokens, and no other."""
    vocabulary = ["?", *(w for w in WORDS if w not in split), *(w[0] for w in split), *(f"##{w[1:]}" for w in split)]
    found = Tokenizer(WordPiece({text: n for n, text in enumerate(dict.fromkeys(vocabulary))}, unk_token="?"))
    found.pre_tokenizer = Whitespace()
    return found


MODELS = tokenizer_of(WORDS[::3])


def tokens_of(text: str) -> int:
    return len(MODELS.encode(text).ids)


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    path = tmp_path / "tokenizer.json"
    path.write_text(MODELS.to_str())
    return str(path)


def asked_and_sent(folder: Path) -> list[tuple[int, int | None]]:
    """Prompt tokens of all complete answers except the last ones: their usage may come after the end of the window."""
    records = read_records(folder / "records.parquet")
    names = ("asked_input", "input_tokens", "complete", "end_ns")
    rows = zip(*(records.columns[name] for name in names), strict=True)
    return [(asked, sent) for asked, sent, complete, end in rows if complete and end < records.info.window_ns]


def test_the_tokenizer_splits_words() -> None:
    assert tokens_of(" ".join(WORDS)) > len(WORDS) + 50


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("U(20,200)/(2,4)", {}),
        ("U(20,200)/(2,4)", {"api": Api.COMPLETIONS, "prefix_tokens": 30}),
        ("N(60,20)/(2,1) prefixes=3 prefix_tokens=25", {}),
        ("mix:1 U(20,90)/(2,2) + 1 D(33,3) prefixes=2 prefix_tokens=20", {}),
        ("E(37) documents=3", {"api": Api.EMBEDDINGS}),
    ],
)
async def test_with_a_tokenizer(tmp_path: Path, tokenizer: str, text: str, more: dict[str, object]) -> None:
    behavior = Behavior(ttft_s=0.002, itl_s=0.001, count_prompt=tokens_of)
    seen, _ = await measured(tmp_path, behavior, scenario=parse_scenario(text), tokenizer=tokenizer, **SHORT, **more)
    assert len(asked_and_sent(tmp_path)) >= 40
    assert all(asked == sent for asked, sent in asked_and_sent(tmp_path))
    assert not [warning for warning in seen.warnings if "length" in warning]


@pytest.mark.parametrize("text", ["U(20,200)/(2,4)", "D(40,3) prefixes=3 prefix_tokens=25"])
async def test_token_ids(tmp_path: Path, text: str) -> None:
    behavior = Behavior(ttft_s=0.002, itl_s=0.001, template_tokens=0)
    seen, server = await measured(
        tmp_path, behavior, scenario=parse_scenario(text), api=Api.COMPLETIONS, token_ids=True, **SHORT
    )
    prompts = [truth.body["prompt"] for truth in server.log]
    assert all(isinstance(prompt, list) and set(map(type, prompt)) == {int} for prompt in prompts)
    loaded = [tuple(truth.body["prompt"]) for truth in server.log if truth.body["max_tokens"] > 1]
    assert len(set(loaded)) == len(loaded)
    assert all(asked == sent for asked, sent in asked_and_sent(tmp_path))
    assert not [warning for warning in seen.warnings if "length" in warning]


async def test_other_tokenizer_is_named(tmp_path: Path, tokenizer: str) -> None:
    other = tokenizer_of(WORDS[1::3])
    behavior = Behavior(ttft_s=0.002, itl_s=0.001, count_prompt=lambda text: len(other.encode(text).ids))
    seen, _ = await measured(tmp_path, behavior, scenario=parse_scenario("D(150,2)"), tokenizer=tokenizer, **SHORT)
    assert [warning for warning in seen.warnings if "prompts" in warning and "requested" in warning]
