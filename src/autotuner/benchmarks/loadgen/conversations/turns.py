"""The requests of conversations: each turn carries all turns before it, with the server's own answers.

How many turns a conversation has, their lengths and the pauses between them follow from the seed, the user and the
number of the conversation, not from when the server answers. Every configuration thus faces the same conversations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from autotuner.benchmarks.loadgen.conversations.message_text import transcript
from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.prefix_prompts import PrefixFactory
from autotuner.benchmarks.loadgen.prompts import PromptText, RequestFactory, draw
from autotuner.benchmarks.loadgen.spec import Calibration, Conversations, Pauses, WorkerSpec


def pause_s(pauses: Pauses, rng: Random) -> float:
    """Draws a pause in seconds, at least 0."""
    if pauses.kind == "uniform":
        return rng.uniform(pauses.a, pauses.b)
    return max(0.0, rng.gauss(pauses.a, pauses.b)) if pauses.kind == "normal" else pauses.a


@dataclass
class Conversation:
    """One conversation of a user, as far as it has come."""

    user: int
    number: int
    """Place among the user's conversations, from 0."""
    turns: int
    choices: Random
    text: Random = field(default_factory=Random)
    recorded: Sequence[Mapping[str, Any]] = ()
    """Its turns in a dataset; empty for a synthetic one."""
    row: int | None = None
    """Place of its row in a dataset."""
    reused: bool = False
    """Whether this server has received it before."""
    turn: int = 0
    """The next turn, from 0."""
    messages: list[Mapping[str, Any]] = field(default_factory=list)
    tokens: int = 0
    """Prompt tokens that the turns so far add to the next prompt."""
    prefix: int | None = None
    """Rank of the shared prefix that it begins with; None if there is at most one."""

    @property
    def over(self) -> bool:
        """Whether all turns have been sent."""
        return self.turn >= self.turns

    def end(self) -> None:
        """Leaves the remaining turns out."""
        self.turns = self.turn


class TurnFactory(RequestFactory):
    """Requests of synthetic conversations. Arguments as for :class:`RequestFactory`."""

    def __init__(self, spec: WorkerSpec, calibration: Calibration, host: str) -> None:
        super().__init__(spec, calibration, host)
        if spec.conversations is None:
            raise ValueError("the spec has no conversations")
        self._conversations: Conversations = spec.conversations
        self._words = PromptText(Random(0), self.units)
        self.prefixes = PrefixFactory(spec, calibration, host) if spec.prefixes else None
        """The prefixes of which each conversation has one, if there are several."""

    def begin(self, user: int, number: int) -> Conversation:
        """A new conversation of a user."""
        spec = self._spec
        turns = self._conversations.turns
        if turns is None:
            raise ValueError("the spec has no number of turns")
        choices = Random(f"{spec.seed}:conversation:{user}:{number}")
        return Conversation(
            user=user,
            number=number,
            turns=draw(turns, choices),
            choices=choices,
            text=Random(f"{spec.seed}:prompts:{spec.salt}:{user}:{number}"),
            prefix=self.prefixes.drawn(Random(f"{spec.seed}:prefixes:{user}:{number}")) if self.prefixes else None,
        )

    def pause_s(self, conversation: Conversation) -> float:
        """How long the user thinks before the next turn, in seconds."""
        return pause_s(self._conversations.think, conversation.choices)

    def turn(self, conversation: Conversation, *, output_share: float = 1.0) -> Request:
        """The next turn; ``output_share`` as for :meth:`RequestFactory.next`."""
        spec = self._spec
        if spec.input is None or spec.output is None:
            raise ValueError("the spec has no token lengths")
        first = conversation.turn == 0
        lengths = spec.input if first else self._conversations.later or spec.input
        length = draw(lengths, conversation.choices)
        output = max(1, round(draw(spec.output, conversation.choices) * output_share))
        added = length + (spec.prefix_tokens if first else 0)
        prompt = self._words.make(self._words_for(length), conversation.text)
        conversation.messages.append({"role": "user", "content": prompt})
        return self._request_of(conversation, conversation.tokens + added, output)

    def _request_of(self, conversation: Conversation, asked_input: int, output: int) -> Request:
        """The request for an answer to the messages so far, which makes up a turn."""
        spec = self._spec
        rank = conversation.prefix
        prefix = None if self.prefixes is None or rank is None else self.prefixes.prefix(rank)
        body = orjson.dumps(self._body(output, conversation.messages, transcript(conversation.messages), prefix))
        index = spec.share.index_of(self._index)
        request = self._request(index, body, asked_input, output, reused=conversation.reused, keep_text=True)
        self._index += 1
        request.user = conversation.user
        request.conversation = conversation.number
        request.turn = conversation.turn
        request.prefix = rank
        request.row = conversation.row
        conversation.turn += 1
        return request

    def answered(self, conversation: Conversation, request: Request) -> None:
        """Takes a turn's answer into the conversation."""
        text = request.answer
        conversation.messages.append({"role": "assistant", "content": text})
        answer = request.usage_tokens if request.usage_tokens is not None else len(request.chunks)
        if request.thoughts:  # they are not sent back, and nothing says how many of the tokens they are
            answer = round(answer * len(text) / max(1, sum(map(len, request.texts or ()))))
        prompt = request.usage_prompt_tokens or request.asked_input
        conversation.tokens = prompt + answer

    def next(self, *, output_share: float = 1.0) -> Request:
        """Not possible: a turn needs its conversation."""
        raise NotImplementedError("turns follow from conversations")
