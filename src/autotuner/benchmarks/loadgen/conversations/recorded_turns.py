"""The requests of a dataset's conversations: the users' turns from the file, the answers from the server.

A user takes the next row when a conversation begins, so that conversations begin in the order of the rows however fast
the server is. The pauses follow from the seed and the place of the row.
"""

from random import Random

from autotuner.benchmarks.loadgen.conversations.turns import Conversation, TurnFactory
from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.prompts import DEFAULT_OUTPUT


class RecordedTurnFactory(TurnFactory):
    """Requests of recorded conversations. Arguments as for :class:`RequestFactory`."""

    def begin(self, user: int, number: int) -> Conversation:
        """The next row as a new conversation of a user."""
        spec = self._spec
        if self._rows is None:
            raise ValueError("the spec has no rows")
        row, reused = next(self._rows)
        place = self._taken_row()
        return Conversation(
            user=user,
            number=number,
            turns=len(row["turns"]),
            choices=Random(f"{spec.seed}:conversation:{place}"),
            recorded=row["turns"],
            row=place,
            reused=reused,
        )

    def turn(self, conversation: Conversation, *, output_share: float = 1.0) -> Request:
        """The next turn; ``output_share`` as for :meth:`RequestFactory.next`."""
        recorded = conversation.recorded[conversation.turn]
        conversation.messages.extend(recorded["messages"])
        output = max(1, round(recorded.get("max_tokens", DEFAULT_OUTPUT) * output_share))
        # The prompt's tokens are not counted: they depend on the server's earlier answers.
        return self._request_of(conversation, 0, output)
