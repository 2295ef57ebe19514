"""Calibration of prompt lengths: how many words make a prompt of a given number of tokens.

Token counts come from the server's usage or from a local tokenizer. Each probe corrects the guess of the previous one;
probing stops when the target is met or cannot be approached any further. Lengths between two measured points
(words, tokens) are interpolated.
"""

from collections.abc import Awaitable, Callable, Sequence

from autotuner.benchmarks.loadgen.spec import Calibration

CountTokens = Callable[[int, int], Awaitable[int | None]]
"""(words, prefix words) -> prompt tokens of such a request, chat template included; None if they are not reported."""

Points = Sequence[tuple[int, int]]

_TOKENS_PER_WORD = 1.25
"""Typical for short English words; used only until a probe has measured it."""
_FIRST_PROBE_WORDS = 8
_MAX_PROBES = 4


def words_for(points: Points, tokens: int) -> int:
    """Interpolates how many words make a prompt of ``tokens`` tokens; at least 1.

    Args:
        points: Measured (words, tokens), increasing in both.
        tokens: Length of the prompt, chat template included.
    """
    if not points:
        return max(1, round(tokens / _TOKENS_PER_WORD))
    if len(points) == 1:
        words, measured = points[0]
        return max(1, round(words + (tokens - measured) / _TOKENS_PER_WORD))
    right = next((i for i, point in enumerate(points) if point[1] >= tokens), len(points) - 1)
    (w0, t0), (w1, t1) = points[max(0, right - 1)], points[max(1, right)]
    return max(1, round(w0 + (tokens - t0) * (w1 - w0) / max(1, t1 - t0)))


def increasing(points: Points) -> tuple[tuple[int, int], ...]:
    """Sorts points and drops those that do not increase in both coordinates, so that interpolation is monotonic."""
    kept: list[tuple[int, int]] = []
    for words, tokens in sorted(set(points)):
        if not kept or (words > kept[-1][0] and tokens > kept[-1][1]):
            kept.append((words, tokens))
    return tuple(kept)


async def calibrate(
    count: CountTokens, targets: Sequence[int], prefix_tokens: int, *, template: bool = True
) -> Calibration:
    """Probes until prompts of the target lengths can be generated.

    Args:
        count: Sends or counts one probe.
        targets: Prompt lengths in tokens, without the shared prefix.
        prefix_tokens: Length of the shared prefix, in tokens.
        template: Whether the server may add many tokens to each prompt. If not, the first probe already tells the
            tokens of a word, and no later one exceeds the target by much: some servers refuse what is longer.

    Returns:
        A calibration without points if ``count`` reports nothing: lengths are then estimated, and the records show the
        lengths that the server reported, if any.
    """
    if not targets:
        return Calibration()
    prefix_words = await _prefix_words(count, prefix_tokens) if prefix_tokens else 0
    first = await count(_FIRST_PROBE_WORDS, prefix_words)
    if first is None:
        return Calibration(prefix_words=prefix_words)
    points: list[tuple[int, int]] = [(_FIRST_PROBE_WORDS, first)]
    if not template:
        points.insert(0, (0, 0))
    for target in targets:
        await _refine(count, points, target + prefix_tokens, prefix_words)
    return Calibration(increasing(points), prefix_words)


async def _refine(count: CountTokens, points: list[tuple[int, int]], target: int, prefix_words: int) -> None:
    tried = {words for words, _ in points}
    for _ in range(_MAX_PROBES):
        words = words_for(increasing(points), target)
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
    """Words of a shared prefix that adds ``prefix_tokens`` to a prompt."""
    bare = await count(_FIRST_PROBE_WORDS, 0)
    words = words_for((), prefix_tokens)
    if bare is None:
        return words
    points = [(0, 0)]
    for _ in range(_MAX_PROBES):
        tokens = await count(_FIRST_PROBE_WORDS, words)
        if tokens is None:
            break
        points.append((words, tokens - bare))
        better = words_for(increasing(points), prefix_tokens)
        if tokens - bare == prefix_tokens or better == words:
            break
        words = better
    return words
