"""Gather the pages of the site in build/pages: those of docs/ and of the repository, notebooks, the API reference.

`make docs` calls it before the site is built from that folder. Everything in there is plain Markdown, so that the
program that builds the site can be replaced.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from docs.builder.api import list_faces, render_face, render_root
from docs.builder.command_line import show_verbs
from docs.builder.formulas import draw_formulas
from docs.builder.links import link_names, place_links
from docs.builder.notebooks import render_notebook

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "build" / "pages"
REFERENCES = ("api/", "benchmarks/", "changelog", "contributing")
ASSETS = ("*.svg", "*.png", "*.css", "*.js", "*.ipynb")


def find_included() -> dict[str, str]:
    """Return the files outside docs/ that are pages of the site, with the path of each page."""
    names = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
    results = sorted((ROOT / "benchmarks" / "results").glob("*.md"))
    return {
        **{name: name.lower() for name in names},
        "benchmarks/README.md": "benchmarks/index.md",
        **{f"benchmarks/results/{path.name}": f"benchmarks/{path.name}" for path in results},
    }


def list_pages() -> Iterator[tuple[str, str, str]]:
    """Yield every page: its path on the site, the file that its links start from, and its Markdown."""
    for path in sorted((ROOT / "docs").rglob("*.md")):
        source = path.relative_to(ROOT).as_posix()
        yield source.removeprefix("docs/"), source, path.read_text(encoding="utf-8")

    for source, page in find_included().items():
        yield page, source, (ROOT / source).read_text(encoding="utf-8")

    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        source = path.relative_to(ROOT).as_posix()
        yield f"notebooks/{path.stem}.md", source, render_notebook(path)

    yield "api/index.md", "docs/api/index.md", render_root()
    for room in list_faces():
        yield f"api/{room}.md", f"docs/api/{room}.md", render_face(room)


def gather(folder: Path = PAGES) -> None:
    """Write all pages, and the files that they show, into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    included = find_included()

    for page, source, markdown in list_pages():
        text = place_links(markdown, source=source, page=page, included=included)

        # The reference itself is linked by its docstrings.
        if not page.startswith("api/"):
            text = draw_formulas(link_names(show_verbs(text)))

        # The first page has no neighbors to list; a search finds explanations before references.
        if page == "index.md":
            text = f"---\nhide: [navigation]\n---\n\n{text}"
        elif page.startswith(REFERENCES):
            text = f"---\nsearch: {{boost: 0.2}}\n---\n\n{text}"

        target = folder / page
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    for pattern in ASSETS:
        for path in (ROOT / "docs").rglob(pattern):
            target = folder / path.relative_to(ROOT / "docs")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


if __name__ == "__main__":
    gather()
