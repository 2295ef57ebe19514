"""Radix tree of the token prefixes in the KV cache, evicted leaf by leaf in least-recently-used order.

Tokens are stored as bytes, four per token, so that comparing long prefixes is fast.
"""

from collections import OrderedDict

TOKEN = 4
"""Bytes of one token id."""


class Node:
    """A sequence of tokens that follows its parent's."""

    __slots__ = ("children", "key", "locks", "parent")

    def __init__(self, key: bytes, parent: "Node | None") -> None:
        self.key = key
        self.parent = parent
        self.children: dict[bytes, Node] = {}
        self.locks = 0

    @property
    def tokens(self) -> int:
        """Number of tokens, without those of its ancestors."""
        return len(self.key) // TOKEN


class PrefixCache:
    """Cached prefixes in whole pages. ``size`` counts all tokens, ``evictable`` the unused ones."""

    def __init__(self, page: int = 1) -> None:
        self.page = page
        self._step = page * TOKEN
        self.root = Node(b"", None)
        self.size = 0
        self.evictable = 0
        self._leaves: OrderedDict[Node, None] = OrderedDict()
        """Unlocked leaves, least recently used first."""

    def match(self, tokens: bytes) -> tuple[Node, int]:
        """The last node of the longest cached prefix, and its length in tokens. Splits a partially matching node."""
        node = self.root
        at = 0
        whole = len(tokens) - len(tokens) % self._step
        while at < whole:
            child = node.children.get(tokens[at : at + self._step])
            if child is None:
                break
            common = self._common(child.key, tokens, at, whole)
            if common < len(child.key):
                child = self._split(child, common)
            at += common
            node = child
        self._touch(node)
        return node, at // TOKEN

    def insert(self, tokens: bytes) -> tuple[Node, int, int]:
        """Adds the whole pages of ``tokens``; returns their last node, their count, and the number of new tokens."""
        node, matched = self.match(tokens)
        whole = len(tokens) - len(tokens) % self._step
        rest = tokens[matched * TOKEN : whole]
        if not rest:
            return node, matched, 0
        leaf = Node(rest, node)
        node.children[rest[: self._step]] = leaf
        self._leaves.pop(node, None)
        self._leaves[leaf] = None
        self.size += leaf.tokens
        self.evictable += leaf.tokens
        return leaf, whole // TOKEN, leaf.tokens

    def lock(self, node: Node) -> None:
        """Keeps a prefix from being evicted."""
        at: Node | None = node
        while at is not None and at is not self.root:
            if at.locks == 0:
                self.evictable -= at.tokens
                self._leaves.pop(at, None)
            at.locks += 1
            at = at.parent

    def unlock(self, node: Node) -> None:
        """Undoes one :meth:`lock`."""
        at: Node | None = node
        while at is not None and at is not self.root:
            at.locks -= 1
            if at.locks == 0:
                self.evictable += at.tokens
                if not at.children:
                    self._leaves[at] = None
            at = at.parent

    def evict(self, tokens: int) -> int:
        """Evicts up to this many unlocked tokens, rounded up to whole pages; returns how many were evicted."""
        freed = 0
        while freed < tokens and self._leaves:
            leaf = next(iter(self._leaves))
            wanted = -(-(tokens - freed) // self.page) * self.page
            if leaf.tokens > wanted:
                leaf.key = leaf.key[: -wanted * TOKEN]
                freed += wanted
                self.size -= wanted
                self.evictable -= wanted
                break
            freed += self._remove(leaf)
        return freed

    def clear(self) -> int:
        """Evicts all unused tokens; returns how many."""
        return self.evict(self.evictable)

    def _remove(self, leaf: Node) -> int:
        del self._leaves[leaf]
        parent = leaf.parent or self.root
        del parent.children[leaf.key[: self._step]]
        self.size -= leaf.tokens
        self.evictable -= leaf.tokens
        if not parent.children and parent.locks == 0 and parent is not self.root:
            self._leaves[parent] = None
            self._leaves.move_to_end(parent, last=False)
        return leaf.tokens

    def _common(self, key: bytes, tokens: bytes, at: int, end: int) -> int:
        """Length in bytes of the common prefix of ``key`` and ``tokens[at:end]``, in whole pages."""
        longest = min(len(key), end - at)
        longest -= longest % self._step
        if key[:longest] == tokens[at : at + longest]:
            return longest
        # Binary search: comparing slices of bytes is much faster than a loop over pages.
        low = 0
        high = longest // self._step
        while high - low > 1:
            middle = (low + high) // 2
            cut = middle * self._step
            if key[:cut] == tokens[at : at + cut]:
                low = middle
            else:
                high = middle
        return low * self._step

    def _split(self, node: Node, at: int) -> Node:
        """Splits a node in two; the front part takes its place."""
        parent = node.parent or self.root
        front = Node(node.key[:at], parent)
        front.locks = node.locks
        front.children[node.key[at : at + self._step]] = node
        parent.children[front.key[: self._step]] = front
        node.key = node.key[at:]
        node.parent = front
        return front

    def _touch(self, node: Node) -> None:
        if node in self._leaves:
            self._leaves.move_to_end(node)
