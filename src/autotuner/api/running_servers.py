"""The client's methods for servers that are already running: no study, nothing in the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Unpack

    from autotuner.api.options import ConnectionOptions
    from autotuner.benchmarks.measure_url import BenchReport
    from autotuner.study.capacity.result import CapacityLevel, CapacityReport
    from autotuner.study.workload import LoadUnit


class RunningServers:
    """Measures servers by their URL."""

    def bench(
        self,
        url: str,
        *,
        workload: Mapping[str, Any],
        slos: Sequence[str] = (),
        folder: str | Path | None = None,
        server_metrics: bool = False,
        on_window: Callable[[str], None] | None = None,
        **connection: Unpack[ConnectionOptions],
    ) -> BenchReport:
        """Measure a running server. Nothing is stored.

        Args:
            url: Base URL of an OpenAI-compatible server; ``${NAME}`` is replaced by an environment variable.
            workload: As in a study file: ``scenarios``, ``concurrency`` or ``rates``, ``duration`` and so on.
            slos: SLOs to check, such as ``p99 ttft <= 200ms``.
            folder: Folder for request records; None: they are not written.
            server_metrics: Sample the server's Prometheus metrics during each window.
            on_window: Called with a line of text when a window begins.
            **connection: How requests reach the server: see :class:`autotuner.ConnectionOptions`.

        Returns:
            One measurement per scenario and level, and the results of the SLOs. Times in seconds, rates per second.

        Raises:
            UsageError: If an argument is wrong.
            BenchStoppedError: If it was interrupted or failed later on; its ``report`` has the measurements so far.

        Example:
            >>> load = {"scenarios": "D(24,6)", "concurrency": 2, "warmup": "0s", "duration": "200ms"}
            >>> report = autotuner.bench(url, workload=load, slos=["p99 ttft <= 10s"])
            >>> report.measurements[0].level.text
            'concurrency=2'
        """
        from autotuner.api.blocking import outside_loop
        from autotuner.tuning.bench_session import bench
        from autotuner.tuning.running_server import RunningServer

        return outside_loop(
            lambda: bench(
                RunningServer(url, **connection),
                workload=workload,
                slos=slos,
                folder=None if folder is None else Path(folder),
                server_metrics=server_metrics,
                on_window=on_window,
            )
        )

    def capacity(
        self,
        url: str,
        *,
        slos: Sequence[str],
        folder: str | Path,
        workload: Mapping[str, Any] | None = None,
        search: Mapping[str, Any] | None = None,
        server_metrics: bool = False,
        on_level: Callable[[CapacityLevel, LoadUnit], None] | None = None,
        **connection: Unpack[ConnectionOptions],
    ) -> CapacityReport:
        """Find the highest load that a running server takes within its SLOs.

        Args:
            url: Base URL of an OpenAI-compatible server; ``${NAME}`` is replaced by an environment variable.
            slos: Percentiles or means of latencies, or ``success_rate``, such as ``p99 ttft <= 500ms``.
            folder: Where the certificate and the request records that it rests on are written.
            workload: As in a study file: ``scenarios``, ``warmup`` and so on, without levels and durations.
            search: ``unit`` (``rate``, ``concurrency`` or ``speed``), ``precision``, ``confidence``, ``start``,
                ``low``, ``high``, ``max_requests``, ``max_duration``.
            server_metrics: Sample the server's Prometheus metrics during each level.
            on_level: Called with each finished level and the unit of its load.
            **connection: How requests reach the server: see :class:`autotuner.ConnectionOptions`.

        Returns:
            One bracket per scenario: the highest certified load and the lowest refuted one, or why one is missing.

        Raises:
            UsageError: If an argument is wrong.
            CapacityStoppedError: If it was interrupted or failed later on; its ``report`` holds what was measured.

        Example:
            >>> load = {"scenarios": "D(24,6)", "warmup": "0s"}
            >>> report = autotuner.measure_capacity(
            ...     url, slos=["p90 ttft <= 10s"], folder=folder, workload=load, search={"max_requests": 200}
            ... )
            >>> autotuner.verify_capacity(folder).holds
            True
        """
        from autotuner.api.blocking import outside_loop
        from autotuner.tuning.capacity_session import capacity
        from autotuner.tuning.running_server import RunningServer

        return outside_loop(
            lambda: capacity(
                RunningServer(url, **connection),
                workload=workload or {"scenarios": "D(128,64)"},
                slos=slos,
                folder=Path(folder),
                search=search or {},
                server_metrics=server_metrics,
                on_level=on_level,
            )
        )
