"""MkDocs hooks that add pages and files outside docs/ to the site and adapt the links to them.

The pages stay where GitHub and readers of a checkout expect them, with links that work there.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "explanation/architecture.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
}
"""Pages at the top of the repository, and their paths in the site."""
ATTACHED = ("examples", "packaging")
"""Folders whose files pages may link to."""
_REPOSITORY = {site: repository for repository, site in PAGES.items()}
_LINK = re.compile(r"(\]\()([^)#\s]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages and files outside docs/."""
    for repository, site in PAGES.items():
        files.append(File.generated(config, site, content=(ROOT / repository).read_text()))
    for folder in ATTACHED:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file():
                files.append(File.generated(config, path.relative_to(ROOT).as_posix(), content=path.read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrites links into or out of docs/."""
    here = page.file.src_uri
    source = _REPOSITORY.get(here, f"docs/{here}")

    def rewritten(link: re.Match[str]) -> str:
        opening, target, anchor = link.groups(default="")
        repository = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if ":" in target or not (ROOT / repository).exists():
            return link.group()
        site = posixpath.relpath(site_path(repository), posixpath.dirname(here) or ".")
        return f"{opening}{site}{anchor}"

    return _LINK.sub(rewritten, markdown)


def site_path(repository: str) -> str:
    """Returns the path in the site of a file of the repository; a folder stands for its README."""
    if (ROOT / repository).is_dir():
        repository = f"{repository}/README.md"
    return PAGES.get(repository, repository.removeprefix("docs/"))
