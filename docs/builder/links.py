"""Links of a page: to files that have a page of their own on the site, to the repository, and to the API reference."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping

from docs.builder.api import find_names

REPOSITORY = "https://github.com/neuronspec/neuronspec"
LINK = re.compile(r"(\]\()(?!\w+:|#)([^)#\s]+)(#[^)]*)?\)")
NAME = re.compile(r"(?<![`\[])`(ns\.\w+|neuronspec\.\w+(?:\.\w+)?)(\([^`]*\))?`(?![`\]])")
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)


def place_links(text: str, *, source: str, page: str, included: Mapping[str, str]) -> str:
    """Return a page whose links lead to pages of the site, or else into the repository.

    Args:
        text: Markdown of the page.
        source: Path of its file in the repository, which its links start from.
        page: Path of the page on the site.
        included: Pages of files outside docs/, by file.
    """

    def place(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[2]))
        anchor = found[3] or ""
        inside = target.removeprefix("docs/") if target.startswith("docs/") else included.get(target)

        # Pages lead to the page of a notebook, and only that leads to its file.
        if inside is not None and not source.endswith(".ipynb"):
            inside = inside.replace(".ipynb", ".md")
        if inside is None or inside.endswith((".yaml", ".py")):
            return f"{found[1]}{REPOSITORY}/blob/main/{target}{anchor})"

        return f"{found[1]}{posixpath.relpath(inside, posixpath.dirname(page) or '.')}{anchor})"

    return outside_code(text, lambda part: LINK.sub(place, part))


def link_names(text: str) -> str:
    """Return a page in which names of the public interface in code, such as `ns.run`, lead to their reference."""
    names = find_names()

    def link(found: re.Match[str]) -> str:
        place = names.get(found[1])
        return f"[{found[0]}][{place}]" if place else found[0]

    return outside_code(text, lambda part: NAME.sub(link, part))


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Return a text in which everything but its blocks of code is changed."""
    parts, start = [], 0
    for block in FENCE.finditer(text):
        parts += [change(text[start : block.start()]), block[0]]
        start = block.end()
    return "".join([*parts, change(text[start:])])
