"""Allocation of the KV cache to requests in whole pages, including prefixes kept for reuse."""

from autotuner.simulator.prefix_cache import Node, PrefixCache
from autotuner.simulator.request import Request


class KvPool:
    """A KV cache of ``total`` tokens, shared by running requests and cached prefixes."""

    def __init__(self, total: int, page: int, *, reuse: bool) -> None:
        self.page = page
        self.total = total - total % page
        self.free = self.total
        self.tree = PrefixCache(page) if reuse else None

    @property
    def available(self) -> int:
        """Tokens that are free or can be freed by evicting unused prefixes."""
        return self.free + (self.tree.evictable if self.tree else 0)

    @property
    def used(self) -> int:
        """Tokens held by running requests."""
        return self.total - self.available

    def paged(self, tokens: int) -> int:
        """Tokens rounded up to whole pages."""
        return -(-tokens // self.page) * self.page

    def missing(self, request: Request, length: int) -> int:
        """Tokens to allocate before the request can hold ``length``."""
        return max(0, self.paged(length) - request.shared - request.private)

    def begin(self, request: Request) -> int:
        """Assigns its cached prefix to a request, but never its whole text; returns the prefix length in tokens."""
        request.shared = request.private = 0
        if self.tree is None:
            request.node = None
            request.kv = 0
            return 0
        node, matched = self.tree.match(request.reusable())
        self.tree.lock(node)
        request.node = node
        request.shared = matched
        request.kv = matched
        return matched

    def matched(self, request: Request) -> int:
        """Length of the cached prefix in tokens. Allocates nothing."""
        return 0 if self.tree is None else self.tree.match(request.reusable())[1]

    def grow(self, request: Request, length: int) -> bool:
        """Allocates room for ``length`` tokens, evicting prefixes as needed; False if there is not enough."""
        need = self.missing(request, length)
        if need > self.available:
            return False
        if need > self.free and self.tree is not None:
            self.free += self.tree.evict(need - self.free)
        self.free -= need
        request.private += need
        return True

    def share(self, request: Request) -> None:
        """Makes the computed tokens of a request reusable by others."""
        if self.tree is None:
            return
        node, count, new = self.tree.insert(request.computed())
        moved = count - request.shared
        if moved <= 0:
            return
        self._relock(request, node)
        request.private -= moved
        request.shared = count
        self.free += moved - new

    def end(self, request: Request, *, keep: bool) -> None:
        """Frees everything that a request holds; with ``keep``, its computed tokens stay as a prefix."""
        if keep:
            self.share(request)
        if self.tree is not None and request.node is not None:
            self.tree.unlock(request.node)
        self.free += request.private
        request.node = None
        request.shared = 0
        request.private = 0
        request.kv = 0

    def flush(self) -> None:
        """Evicts all unused prefixes."""
        if self.tree is not None:
            self.free += self.tree.clear()

    def _relock(self, request: Request, node: Node) -> None:
        assert self.tree is not None  # noqa: S101 - only called with a tree
        self.tree.lock(node)
        if request.node is not None:
            self.tree.unlock(request.node)
        request.node = node
