"""The measured window over what genai-bench does: when it opens and closes, and the records of its requests.

The rules are those of the closed loop in ``docs/reference/metrics.md``. genai-bench can be told neither, so it runs on
around the window, and what it did inside is cut out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autotuner.benchmarks.genai_bench.log import Answer, Event, Failed, Started
from autotuner.benchmarks.loadgen.finish_reasons import failure_kind

Line = Mapping[str, Any]
_PROGRESS_NS = 500_000_000


@dataclass(frozen=True)
class Plan:
    """What the window is to be. Times in seconds."""

    concurrency: int
    warmup_s: float
    duration_s: float
    requests: int | None
    request_timeout_s: float
    asked_input: int | None
    """Tokens; None where they are drawn for each request, which is not told."""
    asked_output: int | None


@dataclass
class _Open:
    index: int
    at_ns: int


class Timeline:
    """Fed with events and the clock (monotonic nanoseconds); ``over`` when nothing more is needed."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._open: list[_Open] = []
        self._started = self._seen = self._failed = self._tokens = 0
        self._begun_ns: int | None = None
        self._told_ns = 0
        self._told_end = False
        self._rows: list[dict[str, Any]] = []
        self.begin_ns: int | None = None
        self.end_ns: int | None = None
        self.over = False
        self.unanswered = 0
        """Requests that never ended; their users did nothing else meanwhile."""

    @property
    def begun(self) -> bool:
        """A request was sent."""
        return self._begun_ns is not None

    def take(self, event: Event) -> None:
        """One event, in the order of the log."""
        match event:
            case Started():
                self._start(event.at_ns)
            case Answer():
                begun = self._close(min(self._open, key=lambda o: abs(o.at_ns - event.sent_ns), default=None))
                error = failure_kind(event.finish) if event.finish else "cut_stream"
                self._record(event.sent_ns, event.end_ns, begun, error, answer=event)
            case Failed():
                begun = self._close(self._open[0] if self._open else None)
                sent_ns = begun.at_ns if begun else event.at_ns
                self._record(sent_ns, event.at_ns, begun, event.error, detail=event.detail)

    def tick(self, now_ns: int) -> list[Line]:
        """What there is to say at this moment."""
        said: list[Line] = []
        if self.begin_ns is None:
            if self._may_begin(now_ns):
                self.begin_ns = self._told_ns = now_ns
                said += [{"kind": "window", "state": "begin", "monotonic_ns": now_ns}, self._progress(now_ns)]
            return said
        if self.end_ns is None and now_ns >= self._due_ns(self.begin_ns):
            self.end_ns = self._due_ns(self.begin_ns)
        if self.end_ns is None:
            if now_ns - self._told_ns >= _PROGRESS_NS:
                self._told_ns = now_ns
                said.append(self._progress(now_ns))
            return said
        if not self._told_end:
            self._told_end = True
            said.append({"kind": "window", "state": "end", "monotonic_ns": self.end_ns})
        self._drain(self.end_ns, now_ns)
        return said

    def rows(self) -> list[dict[str, Any]]:
        """The records of all requests, in ns from the window's begin, in the order in which they ended."""
        zero = self.begin_ns or 0
        times = ("sent_ns", "first_ns", "end_ns")
        return [{**r, **{t: r[t] - zero for t in times if r[t] is not None}} for r in self._rows]

    def _start(self, at_ns: int) -> None:
        if self._begun_ns is None:
            self._begun_ns = at_ns
        if len(self._open) >= self._plan.concurrency:  # one ended without a word: more are never in flight
            self._open.pop(0)
        self._open.append(_Open(self._started, at_ns))
        self._started += 1

    def _close(self, found: _Open | None) -> _Open | None:
        if found is not None:
            self._open.remove(found)
        return found

    def _may_begin(self, now_ns: int) -> bool:
        """After the warm-up, and when the first request of every user has ended; but not never."""
        if self._begun_ns is None:
            return False
        warm = self._begun_ns + round(self._plan.warmup_s * 1e9)
        users = self._plan.concurrency
        ramping = self._started < users or any(o.index < users for o in self._open)
        return now_ns >= warm and (not ramping or now_ns >= warm + round(self._plan.duration_s * 1e9))

    def _due_ns(self, begin_ns: int) -> int:
        return begin_ns + round(self._plan.duration_s * 1e9)

    def _drain(self, end_ns: int, now_ns: int) -> None:
        """Over when every request that the window has seen has ended, or has waited too long."""
        waiting = [o for o in self._open if o.at_ns < end_ns]
        oldest_ns = now_ns - round(self._plan.request_timeout_s * 1e9)
        if any(o.at_ns > oldest_ns for o in waiting):
            return
        for hung in waiting:
            self._record(hung.at_ns, now_ns, hung, "timeout", detail="no end of the answer")
        self.unanswered = len(waiting)
        self.over = True

    def _progress(self, now_ns: int) -> Line:
        return {
            "kind": "progress",
            "elapsed_s": (now_ns - (self.begin_ns or now_ns)) / 1e9,
            "total_s": self._plan.duration_s,
            "completed": self._seen - self._failed,
            "failed": self._failed,
            "chunks": self._tokens,
        }

    def _count(self, end_ns: int, error: str | None, tokens: int) -> None:
        if self.begin_ns is None or self.end_ns is not None:
            return
        if not self.begin_ns <= end_ns < self._due_ns(self.begin_ns):
            return
        self._seen += 1
        self._failed += error is not None
        self._tokens += tokens
        if self._plan.requests is not None and self._seen >= self._plan.requests:
            self.end_ns = end_ns + 1

    def _record(
        self,
        sent_ns: int,
        end_ns: int,
        begun: _Open | None,
        error: str | None,
        *,
        answer: Answer | None = None,
        detail: str = "",
    ) -> None:
        plan = self._plan
        tokens = answer.output_tokens if answer else 0
        prompt = answer.prompt_tokens if answer else None
        self._count(end_ns, error, tokens)
        self._rows.append(
            {
                "index": len(self._rows),
                "scheduled_ns": None,
                "sent_ns": sent_ns,
                "lag_ns": 0,
                "end_ns": end_ns,
                "connect_ns": 0,
                "first_ns": answer.first_ns if answer else None,
                "gaps_ns": [answer.end_ns - answer.first_ns] if answer and tokens > 1 else [],
                "asked_input": plan.asked_input if plan.asked_input is not None else prompt or 0,
                "asked_output": plan.asked_output if plan.asked_output is not None else tokens,
                "input_tokens": prompt,
                "output_tokens": tokens,
                "token_source": "tokenizer" if answer and prompt is None else "usage",
                "complete": error is None,
                "ramp": begun is not None and begun.index < plan.concurrency,
                "error": error,
                "detail": detail or (f"after {tokens} tokens" if answer and error else ""),
                "finish": (answer.finish or None) if answer else None,
            }
        )
