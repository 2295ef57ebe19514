"""The requests of a dataset's conversations: the users' turns from the file, the answers from the server.

A user takes the next row when a conversation begins, so that conversations begin in the order of the rows however fast
the server is. The pauses follow from the seed and the place of the row.
"""

from collections.abc import Iterable
from random import Random

from autotuner.benchmarks.loadgen.conversations.turns import Conversation, TurnFactory
from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.prompts import DEFAULT_OUTPUT
from autotuner.benchmarks.loadgen.spec import Calibration, WorkerSpec


class RecordedTurnFactory(TurnFactory):
    """Requests of recorded conversations. Arguments as for :class:`RequestFactory`."""

    def __init__(self, spec: WorkerSpec, calibration: Calibration, host: str) -> None:
        super().__init__(spec, calibration, host)
        self._places: dict[tuple[int | None, int | None], int] = {}
        """By user and number of the conversation, the place of its row among all."""

    def begin(self, user: int, number: int) -> Conversation:
        """The next row as a new conversation of a user."""
        spec = self._spec
        if self._rows is None:
            raise ValueError("the spec has no rows")
        row, reused = next(self._rows)
        place = self._places[user, number] = spec.share.index_of(len(self._places))
        return Conversation(
            user=user,
            number=number,
            turns=len(row["turns"]),
            choices=Random(f"{spec.seed}:conversation:{place}"),
            recorded=row["turns"],
            reused=reused,
        )

    def turn(self, conversation: Conversation, *, output_share: float = 1.0) -> Request:
        """The next turn; ``output_share`` as for :meth:`RequestFactory.next`."""
        recorded = conversation.recorded[conversation.turn]
        conversation.messages.extend(recorded["messages"])
        output = max(1, round(recorded.get("max_tokens", DEFAULT_OUTPUT) * output_share))
        return self._request_of(conversation, 0, output)  # nobody has counted the tokens of its prompt

    def rows_used(self, requests: Iterable[Request]) -> int:
        """Rows up to the last one of which a turn was sent, if these are all requests."""
        return 1 + max((self._places[r.user, r.conversation] for r in requests if r.sent_ns), default=-1)
