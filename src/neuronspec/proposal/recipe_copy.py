"""Copies of the recipes that come with neuronspec, with their comments."""

from __future__ import annotations

import os
import re
from pathlib import Path

from neuronspec.config import find_recipe
from neuronspec.data.corpora import names_no_file

# The path of a corpus as the recipes write it, in quotation marks or without
_PATH = re.compile(r'(path: "?)([^"\s,}#]+(?:\{\w+\}[^"\s,}#]*)*)')


def copy_recipe(name: str, path: str | Path) -> str:
    """Return the text of a recipe as a configuration file that means the same.

    The corpora of a recipe are relative to where the command runs, those of a file to its folder. Where these differ,
    the copy has other paths.

    Args:
        name: Name of a recipe, such as `iwslt`.
        path: File that the text is for.

    Raises:
        NeuronspecError: If there is no such recipe; the message names those that exist.
    """
    lines = find_recipe(name).read_text(encoding="utf-8").splitlines(keepends=True)
    folder = Path(path).absolute().parent

    def move(found: re.Match[str]) -> str:
        written = found[2]
        if names_no_file(written) or written.startswith("~") or Path(written).is_absolute():
            return found[0]
        return found[1] + os.path.relpath(Path.cwd() / written, folder)

    # Comments show commands, which run where they always did.
    return "".join(line if line.lstrip().startswith("#") else _PATH.sub(move, line) for line in lines)
