"""The web UI: one page and its files, as ``make ui`` built them. They contain no data, so they need no token."""

import gzip
import re
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from starlette.exceptions import HTTPException

from autotuner.study.spec import NAME_PATTERN

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parents[1] / "static"
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_STUDY = re.compile(f"/studies/({NAME_PATTERN})")
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
"""Names of files contain a digest of their content."""
_MOST_FILES = 128
"""Compressed files that are kept: more than the UI has."""
_MISSING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Autotuner</title>
<p>The web UI is not part of this installation; in a checkout, <code>make ui</code> builds it. The API works.</p></html>
"""


def is_built() -> bool:
    """Whether this installation contains the UI."""
    return (FOLDER / "index.html").is_file()


@router.get("/")
@router.head("/")
@router.get("/sign-in")
@router.head("/sign-in")
@router.get("/doctor")
@router.head("/doctor")
@router.get("/fleet")
@router.head("/fleet")
@router.get("/new")
@router.head("/new")
@router.get("/presets")
@router.head("/presets")
@router.get("/settings")
@router.head("/settings")
@router.get("/studies")
@router.head("/studies")
@router.get("/studies/{rest:path}")
@router.head("/studies/{rest:path}")
def page(request: Request) -> Response:
    """Its script shows what the address names."""
    if not is_built():
        return HTMLResponse(_MISSING, 503)
    headers = {"Cache-Control": "no-cache"}
    shown = _shown(request)
    if shown:
        # Browsers request this at once, and not only when the scripts have been loaded.
        headers["Link"] = f"<{shown}>; rel=preload; as=fetch; crossorigin"
    return FileResponse(FOLDER / "index.html", media_type="text/html", headers=headers)


def unknown_page(request: Request) -> Response | None:
    """The page that says so for an address of no page, if a person opened it; None: this is another request."""
    path = request.scope["path"]
    opened = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if not opened or path.startswith(("/api/", "/assets/")) or not is_built():
        return None
    return FileResponse(FOLDER / "index.html", 404, {"Cache-Control": "no-cache"}, media_type="text/html")


def _shown(request: Request) -> str:
    """The data that the script of a page asks for first; empty for pages that are rarely opened first."""
    path = request.scope["path"]
    if path in {"/", "/studies"} and not request.url.query:
        return "/api/v1/study-rows?limit=50&offset=0"
    found = _STUDY.fullmatch(path)
    return f"/api/v1/studies/{found[1]}/details" if found else ""


@router.get("/assets/{name}")
@router.head("/assets/{name}")
def asset(name: str, request: Request) -> Response:
    """A script, style sheet or picture."""
    file = FOLDER / "assets" / name
    if not _FILE.fullmatch(name) or file.suffix not in _TYPES or not file.is_file():
        raise HTTPException(404)
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return FileResponse(file, media_type=_TYPES[file.suffix], headers=_FOREVER)
    headers = {**_FOREVER, "Content-Encoding": "gzip"}
    return Response(_compressed(file), media_type=_TYPES[file.suffix], headers=headers)


@lru_cache(_MOST_FILES)
def _compressed(file: Path) -> bytes:
    return gzip.compress(file.read_bytes(), mtime=0)
