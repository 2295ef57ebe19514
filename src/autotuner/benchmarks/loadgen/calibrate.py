"""How many words make a prompt of so many tokens, found by asking: the server's usage, or a local tokenizer.

Given points (words, tokens), lengths between them are interpolated. Probing starts from a guess, is corrected by what
came back, and stops when the wanted length is met or cannot be met more closely.
"""

from collections.abc import Awaitable, Callable, Sequence

from autotuner.benchmarks.loadgen.spec import Calibration

CountTokens = Callable[[int, int], Awaitable[int | None]]
"""(words, prefix words) -> prompt tokens of such a request with all that a template adds; None: not told."""

Points = Sequence[tuple[int, int]]

_TOKENS_A_WORD = 1.25
_FIRST = 8
_PROBES = 4


def words_for(points: Points, tokens: int) -> int:
    """Words of a prompt of ``tokens`` tokens; at least 1."""
    if not points:
        return max(1, round(tokens / _TOKENS_A_WORD))
    if len(points) == 1:
        words, seen = points[0]
        return max(1, round(words + (tokens - seen) / _TOKENS_A_WORD))
    right = next((i for i, point in enumerate(points) if point[1] >= tokens), len(points) - 1)
    (w0, t0), (w1, t1) = points[max(0, right - 1)], points[max(1, right)]
    return max(1, round(w0 + (tokens - t0) * (w1 - w0) / max(1, t1 - t0)))


def growing(points: Points) -> tuple[tuple[int, int], ...]:
    """Points in order, without those that do not grow in both coordinates."""
    kept: list[tuple[int, int]] = []
    for words, tokens in sorted(set(points)):
        if not kept or (words > kept[-1][0] and tokens > kept[-1][1]):
            kept.append((words, tokens))
    return tuple(kept)


async def calibrate(count: CountTokens, wanted: Sequence[int], prefix_tokens: int) -> Calibration:
    """Probes until prompts of the ``wanted`` lengths (plus the shared prefix) can be made.

    An empty calibration when ``count`` does not tell: lengths are then a guess, and the records show what they were.
    """
    if not wanted:
        return Calibration()
    prefix_words = await _prefix_words(count, prefix_tokens) if prefix_tokens else 0
    first = await count(_FIRST, prefix_words)
    if first is None:
        return Calibration(prefix_words=prefix_words)
    points: list[tuple[int, int]] = [(_FIRST, first)]
    for target in wanted:
        await _refine(count, points, target + prefix_tokens, prefix_words)
    return Calibration(growing(points), prefix_words)


async def _refine(count: CountTokens, points: list[tuple[int, int]], target: int, prefix_words: int) -> None:
    tried = {words for words, _ in points}
    for _ in range(_PROBES):
        words = words_for(growing(points), target)
        if words in tried:
            return
        tried.add(words)
        tokens = await count(words, prefix_words)
        if tokens is None:
            return
        points.append((words, tokens))
        if tokens == target:
            return


async def _prefix_words(count: CountTokens, prefix_tokens: int) -> int:
    """Words of the shared prefix, such that it adds ``prefix_tokens`` to a prompt."""
    bare = await count(_FIRST, 0)
    words = words_for((), prefix_tokens)
    if bare is None:
        return words
    points = [(0, 0)]
    for _ in range(_PROBES):
        tokens = await count(_FIRST, words)
        if tokens is None:
            break
        points.append((words, tokens - bare))
        better = words_for(growing(points), prefix_tokens)
        if tokens - bare == prefix_tokens or better == words:
            break
        words = better
    return words
