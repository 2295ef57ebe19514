"""The measured window within a run of genai-bench: when it opens and closes, and the records of its requests.

The rules are those of a closed loop in ``docs/reference/metrics.md``. genai-bench supports no such window, so it runs
longer, and the window is cut out of its run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autotuner.benchmarks.genai_bench.log import Answer, Event, Failed, Started
from autotuner.benchmarks.loadgen.http.finish_reasons import failure_kind

Line = Mapping[str, Any]
_PROGRESS_NS = 500_000_000


@dataclass(frozen=True)
class Plan:
    """Parameters of the window. Times in seconds."""

    concurrency: int
    warmup_s: float
    duration_s: float
    requests: int | None
    request_timeout_s: float
    asked_input: int | None
    """Prompt tokens; None if they are drawn for each request, because genai-bench does not report them."""
    asked_output: int | None
    """Output tokens, likewise."""


@dataclass
class _Open:
    index: int
    at_ns: int


class Timeline:
    """State machine driven by events and by the clock (monotonic nanoseconds); ``over`` when it needs no more."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._open: list[_Open] = []
        self._started = self._seen = self._failed = self._tokens = 0
        self._first_start_ns: int | None = None
        self._reported_ns = 0
        self._end_reported = False
        self._rows: list[dict[str, Any]] = []
        self.begin_ns: int | None = None
        self.end_ns: int | None = None
        self.over = False
        self.unanswered = 0
        """Requests that never ended and blocked their users."""

    @property
    def begun(self) -> bool:
        """Whether a request was sent."""
        return self._first_start_ns is not None

    def take(self, event: Event) -> None:
        """Processes one event, in the order of the log."""
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
        """Advances the clock; returns the lines to emit."""
        lines: list[Line] = []
        if self.begin_ns is None:
            if self._may_begin(now_ns):
                self.begin_ns = self._reported_ns = now_ns
                lines += [{"kind": "window", "state": "begin", "monotonic_ns": now_ns}, self._progress(now_ns)]
            return lines
        if self.end_ns is None and now_ns >= self._due_ns(self.begin_ns):
            self.end_ns = self._due_ns(self.begin_ns)
        if self.end_ns is None:
            if now_ns - self._reported_ns >= _PROGRESS_NS:
                self._reported_ns = now_ns
                lines.append(self._progress(now_ns))
            return lines
        if not self._end_reported:
            self._end_reported = True
            lines.append({"kind": "window", "state": "end", "monotonic_ns": self.end_ns})
        self._drain(self.end_ns, now_ns)
        return lines

    def rows(self) -> list[dict[str, Any]]:
        """The records of all requests in the order of their ends; times in ns from the window's start."""
        zero = self.begin_ns or 0
        times = ("sent_ns", "first_ns", "end_ns")
        return [{**r, **{t: r[t] - zero for t in times if r[t] is not None}} for r in self._rows]

    def _start(self, at_ns: int) -> None:
        if self._first_start_ns is None:
            self._first_start_ns = at_ns
        if len(self._open) >= self._plan.concurrency:  # more cannot be in flight, so one ended without a log line
            self._open.pop(0)
        self._open.append(_Open(self._started, at_ns))
        self._started += 1

    def _close(self, found: _Open | None) -> _Open | None:
        if found is not None:
            self._open.remove(found)
        return found

    def _may_begin(self, now_ns: int) -> bool:
        """Whether the warm-up is over and the first request of every user has ended; the latter is awaited for at most
        the duration of a window."""
        if self._first_start_ns is None:
            return False
        warm = self._first_start_ns + round(self._plan.warmup_s * 1e9)
        users = self._plan.concurrency
        ramping = self._started < users or any(o.index < users for o in self._open)
        return now_ns >= warm and (not ramping or now_ns >= warm + round(self._plan.duration_s * 1e9))

    def _due_ns(self, begin_ns: int) -> int:
        return begin_ns + round(self._plan.duration_s * 1e9)

    def _drain(self, end_ns: int, now_ns: int) -> None:
        """Ends the run when every request of the window has ended or exceeded the timeout."""
        waiting = [o for o in self._open if o.at_ns < end_ns]
        oldest_ns = now_ns - round(self._plan.request_timeout_s * 1e9)
        if any(o.at_ns > oldest_ns for o in waiting):
            return
        for hung in waiting:
            self._record(hung.at_ns, now_ns, hung, "timeout", detail="the answer did not end")
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
