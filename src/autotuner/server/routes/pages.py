"""The web UI: one page and its files, as ``make ui`` built them. They contain no data, so they need no token."""

import re
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, HTMLResponse
from starlette.exceptions import HTTPException

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parents[1] / "static"
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
"""Names of files contain a digest of their content."""
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
def page() -> Response:
    """Its script shows what the address names."""
    if not is_built():
        return HTMLResponse(_MISSING, 503)
    return FileResponse(FOLDER / "index.html", media_type="text/html", headers={"Cache-Control": "no-cache"})


@router.get("/assets/{name}")
@router.head("/assets/{name}")
def asset(name: str) -> FileResponse:
    """A script, style sheet or picture."""
    file = FOLDER / "assets" / name
    if not _FILE.fullmatch(name) or file.suffix not in _TYPES or not file.is_file():
        raise HTTPException(404)
    return FileResponse(file, media_type=_TYPES[file.suffix], headers=_FOREVER)
