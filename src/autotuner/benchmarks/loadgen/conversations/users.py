"""Users of a closed loop, each of whom holds one conversation after the other."""

from random import Random

from autotuner.benchmarks.loadgen.conversations.turns import Conversation, TurnFactory, pause_s
from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.http.request_loop import FAIL_PAUSE_S, Load
from autotuner.benchmarks.loadgen.spec import Conversations, WorkerSpec

_SPREAD_S = 1.0


class Users:
    """The users of a window.

    A user sends a turn, reads the answer, thinks, and sends the next one; after the last turn, a new conversation
    begins. A failed turn ends its conversation. Of users in several processes, each process has every n-th one.

    Args:
        spec: The window.
        load: Sends the turns.
        factory: Creates them.
    """

    def __init__(self, spec: WorkerSpec, load: Load, factory: TurnFactory) -> None:
        if spec.users is None or spec.conversations is None:
            raise ValueError("the spec has no users")
        self._users = range(spec.share.index, spec.users, spec.share.of)
        self._conversations: Conversations = spec.conversations
        self._warmup_s = spec.warmup_s
        self._load = load
        self._factory = factory
        self._seed = spec.seed
        self._current: dict[int, Conversation] = {}
        self._first: dict[int, Request] = {}

    @property
    def all_answered(self) -> bool:
        """Whether every user has received an answer, or has failed to."""
        return len(self._first) == len(self._users) and all(request.end_ns for request in self._first.values())

    def start(self) -> None:
        """Starts all users, out of step: after a random part of a pause, in a random turn of their conversation, and
        with a random share of the first answer's length."""
        self._load.start_users(self._ended)
        for user in self._users:
            rng = Random(f"{self._seed}:user:{user}")  # of its own, so that it does not matter which process it is in
            longest = max(self._warmup_s, _SPREAD_S)
            begin = min(pause_s(self._conversations.think, rng), longest) * rng.random()
            conversation = self._factory.begin(user, 0)
            conversation.turns = rng.randint(1, conversation.turns)
            self._current[user] = conversation
            share = rng.uniform(0.1, 1.0)
            self._load.call_later(begin, lambda user=user, share=share: self._send(user, share))  # type: ignore[misc]

    def _send(self, user: int, share: float = 1.0) -> None:
        conversation = self._current[user]
        if conversation.over:  # the next one begins only now, so that its row of a dataset is not taken for nothing
            conversation = self._current[user] = self._factory.begin(user, conversation.number + 1)
        request = self._factory.turn(conversation, output_share=share)
        if user not in self._first:
            request.ramp = True
            self._first[user] = request
        self._load.send(request)

    def _ended(self, request: Request) -> None:
        """Goes on after a turn."""
        if request.user is None:
            return
        conversation = self._current[request.user]
        pause = self._factory.pause_s(conversation)
        if request.error is None:
            self._factory.answered(conversation, request)
        else:
            pause = max(pause, FAIL_PAUSE_S)
            conversation.end()
        user = request.user
        self._load.call_later(pause, lambda: self._send(user))
