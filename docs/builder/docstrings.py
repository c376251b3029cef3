"""Docstrings of the package as the API reference reads them."""

from __future__ import annotations

import re
from typing import Any

import griffe

# Our docstrings have one `Example:`; the parser knows `Examples:`, which shows prompts as code.
EXAMPLE = re.compile(r"^Example:$", re.M)

# Pages are linked in the docstrings of settings, which are shown in docs/ as well, and named in others.
LINK = re.compile(r"\]\((?=\w+\.md)")
PAGE = re.compile(r"\bdocs/(\w+\.md)")


class SiteDocstrings(griffe.Extension):
    """Shows examples as code, and leads links to the pages of the site."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of an object that was found."""
        if obj.docstring is None:
            return

        text = EXAMPLE.sub("Examples:", obj.docstring.value)
        text = LINK.sub("](../", text)
        obj.docstring.value = PAGE.sub(r"[docs/\1](../\1)", text)
