"""Launch plans for tests of deployers: the scripted server, or a few lines of Python."""

import sys
from typing import Any

from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.launch import LaunchPlan
from autotuner.study.spec import EngineSpec, Model
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings

_TELLING = """
import http.server, json, os, signal, sys
{code}
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args): pass
    def do_GET(self):
        seen = {{"argv": sys.argv, "env": dict(os.environ), "uid": os.getuid()}}
        body = json.dumps({{**seen, **globals().get("extra", {{}})}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
host, port = sys.argv[sys.argv.index("--host") + 1], int(sys.argv[sys.argv.index("--port") + 1])
http.server.ThreadingHTTPServer((host, port), Handler).serve_forever()
"""


def fake_plan(timeout_s: float = 20.0, **args: Value) -> LaunchPlan:
    """The fake server, with its options as arguments."""
    engine = FakeEngine(FakeEngineSettings(start_timeout_s=timeout_s))
    values = {k.replace("_", "-"): v for k, v in args.items()}
    return engine.plan(Model(path="fake"), EngineSpec(kind="fake", args=values), Configuration())


def telling_plan(code: str = "", **changes: Any) -> LaunchPlan:
    """A server that responds with its arguments, environment and user id.

    The dict ``extra`` is added if ``code`` defines it before the server starts.
    """
    return LaunchPlan(command=(sys.executable, "-c", _TELLING.format(code=code)), model="m", **changes)


def script_plan(code: str, **changes: Any) -> LaunchPlan:
    """A few lines of Python, not necessarily a server."""
    return LaunchPlan(command=(sys.executable, "-c", code), model="m", **changes)
