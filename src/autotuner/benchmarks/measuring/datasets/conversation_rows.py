"""Rows of a dataset as conversations: all turns of their users, which the server answers.

A turn is what stands between two recorded answers. The recorded answers themselves are not sent; they only tell how
long the server's are, where the row gives no lengths.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autotuner.benchmarks.measuring.datasets.dataset_rows import (
    LENGTHS,
    TURNS,
    Row,
    RowError,
    estimated_tokens,
    length_of,
    read_row,
    turn_of,
)

_ASKING = frozenset({"user", "system", "developer"})
_REMEDY = 'write {"role": "user", "content": "..."}'

Message = Mapping[str, Any]


def read_conversation(found: Any) -> Row | None:
    """The row; None for a ShareGPT conversation without a question that can be sent. Raises :class:`RowError`."""
    if not isinstance(found, dict):
        raise RowError("not a JSON object")
    for name in TURNS:
        if isinstance(found.get(name), list):
            turns = [turn for turn in _turns(list(_shared(found[name]))) if "max_tokens" in turn or _lengths(found)]
            return _made(turns, found) if turns else None
    inner = found.get("body")
    holder = inner if isinstance(inner, dict) else found
    plain = {name: value for name, value in holder.items() if not (name in LENGTHS and isinstance(value, list))}
    row = read_row({**found, "body": plain} if holder is inner else plain)
    if row is None:
        return None
    messages = row.used.get("messages") or [{"role": "user", "content": row.used["prompt"]}]
    turns = _turns(messages)
    if not turns:
        raise RowError('no message has the role "user"', _REMEDY)
    return _made(turns, holder, row.unsent)


def _shared(turns: Sequence[Any]) -> Iterator[Message]:
    """The turns of a ShareGPT conversation as messages, without empty ones."""
    for turn in turns:
        role, text = turn_of(turn)
        if text:
            yield {"role": role, "content": text, **{name: turn[name] for name in LENGTHS if name in turn}}


def _turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The turns, each with ``messages``, ``answer`` and perhaps ``max_tokens``."""
    turns = []
    pending: list[Message] = []
    for message in messages:
        role = message["role"]
        if role == "assistant":
            if _asks(pending):  # an answer to nothing, as at the start of a split conversation, is left out
                turns.append(_turn(pending, message))
                pending = []
        elif role in _ASKING:
            if not (isinstance(message.get("content"), str | list) and message["content"]):
                raise RowError(f'a message of the role "{role}" has no content', _REMEDY)
            pending.append(message)
        else:
            why = f'a message has the role "{role}", which cannot follow the server\'s own answers'
            raise RowError(why, "remove the row, or remove turns=all")
    return [*turns, _turn(pending, None)] if _asks(pending) else turns


def _asks(pending: Sequence[Message]) -> bool:
    return any(message["role"] == "user" for message in pending)


def _turn(pending: Sequence[Message], answer: Message | None) -> dict[str, Any]:
    text = answer.get("content") if answer else None
    given = [length_of(message) for message in (answer or {}, *reversed(pending))]
    length = next((found for found in given if found is not None), None)
    turn: dict[str, Any] = {
        "messages": [{name: value for name, value in m.items() if name not in LENGTHS} for m in pending],
        "answer": None,
    }
    if length is not None:
        turn["max_tokens"] = length
    elif isinstance(text, str) and text:
        turn |= {"max_tokens": estimated_tokens(text), "answer": text}
    return turn


def _made(turns: list[dict[str, Any]], holder: Mapping[str, Any], unsent: tuple[str, ...] = ()) -> Row:
    """The row of these turns; lengths that ``holder`` gives apply to turns that give none themselves."""
    lengths = _lengths(holder)
    if isinstance(lengths, list) and len(lengths) != len(turns):
        raise RowError(f"{len(lengths)} output lengths for {len(turns)} turns", "give one length per turn")
    answers = []
    for number, turn in enumerate(turns):
        answer = turn.pop("answer")
        if lengths is not None and (answer is not None or "max_tokens" not in turn):
            turn["max_tokens"] = lengths[number] if isinstance(lengths, list) else lengths
            answer = None
        answers.append(answer)
    return Row({"turns": turns}, unsent, tuple(answers))


def _lengths(holder: Mapping[str, Any]) -> list[int] | int | None:
    """The output lengths that a row gives: one for all turns, or one per turn."""
    lists = [name for name in LENGTHS if isinstance(holder.get(name), list)]
    if not lists:
        return length_of(holder)
    given = [name for name in LENGTHS if holder.get(name) is not None]
    if len(given) > 1:
        raise RowError(f"conflicting output lengths: {', '.join(given)}", "keep one of them")
    (name,) = lists
    found = [length_of({name: value}) for value in holder[name]]
    if None in found:
        raise RowError(f'"{name}" must give an output length for every turn', "")
    return [length for length in found if length is not None]
