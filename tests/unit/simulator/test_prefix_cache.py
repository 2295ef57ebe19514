"""The radix tree, compared with a plain list of everything that was inserted."""

from hypothesis import given
from hypothesis import strategies as st

from autotuner.simulator.prefix_cache import TOKEN, Node, PrefixCache

TEXTS = st.lists(st.integers(0, 2), max_size=12)


def encoded(tokens: list[int]) -> bytes:
    return b"".join(t.to_bytes(TOKEN, "little") for t in tokens)


def counted(node: Node) -> int:
    return node.tokens + sum(map(counted, node.children.values()))


def longest(known: list[list[int]], text: list[int], page: int) -> int:
    best = 0
    for other in known:
        whole = len(other) - len(other) % page
        same = next((i for i, (a, b) in enumerate(zip(text, other[:whole], strict=False)) if a != b), None)
        same = min(len(text), whole) if same is None else same
        best = max(best, same - same % page)
    return best


@given(st.lists(TEXTS, max_size=20), TEXTS, st.sampled_from([1, 2, 3]))
def test_the_longest_cached_prefix_is_found_in_whole_pages(known: list[list[int]], text: list[int], page: int) -> None:
    tree = PrefixCache(page)
    for other in known:
        tree.insert(encoded(other))
    assert tree.match(encoded(text))[1] == longest(known, text, page)
    assert tree.size == counted(tree.root) == tree.evictable


@given(st.lists(st.tuples(TEXTS, st.booleans()), max_size=20), st.integers(0, 40), st.sampled_from([1, 2]))
def test_locked_prefixes_are_never_evicted(inserts: list[tuple[list[int], bool]], wanted: int, page: int) -> None:
    tree = PrefixCache(page)
    locked: list[tuple[Node, list[int], int]] = []
    for text, lock in inserts:
        node, count, _ = tree.insert(encoded(text))
        if lock:
            tree.lock(node)
            locked.append((node, text, count))
    possible = tree.evictable
    freed = tree.evict(wanted)
    assert freed >= min(wanted, possible)
    assert freed <= min(possible, -(-wanted // page) * page)
    assert tree.size == counted(tree.root)
    for _, text, count in locked:
        assert tree.match(encoded(text))[1] >= count
    for node, _, _ in locked:
        tree.unlock(node)
    assert tree.evictable == tree.size
    tree.clear()
    assert tree.size == counted(tree.root) == 0


def test_the_least_recently_used_prefix_is_evicted_first() -> None:
    tree = PrefixCache()
    old = encoded([1, 1, 1])
    new = encoded([2, 2, 2])
    tree.insert(old)
    tree.insert(new)
    tree.match(old)
    tree.evict(3)
    assert tree.match(old)[1] == 3
    assert tree.match(new)[1] == 0
