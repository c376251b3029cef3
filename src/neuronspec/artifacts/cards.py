"""The common parts of the cards of models and masks: front matter for the hub, safe Markdown, and the paper."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import yaml

from neuronspec.terminal import escape

CARD_FILE: Final = "README.md"  # as the hub names it
PAPER: Final = "*Neuron Specialization*, Tan, Wu and Monz, EMNLP 2024"
CITATION: Final = """\
@inproceedings{tan-etal-2024-neuron,
  title = {Neuron Specialization: Leveraging Intrinsic Task Modularity for Multilingual Machine Translation},
  author = {Tan, Shaomu and Wu, Di and Monz, Christof},
  booktitle = {Proceedings of the 2024 Conference on Empirical Methods in Natural Language Processing},
  year = {2024}
}"""

# Punctuation with a meaning in Markdown or HTML
_MARKUP: Final = re.compile(r"([\\`*_\[\]<>#|~&!])")


def make_front_matter(values: Mapping[str, Any]) -> list[str]:
    """Return the lines by which the hub finds and sorts a repository.

    Args:
        values: Values by key; those that are empty or None are left out.
    """
    known = {key: value for key, value in values.items() if value}
    # Other characters than ASCII's are written as escapes, since some of them end a line of YAML.
    text = yaml.safe_dump(known, sort_keys=False, default_flow_style=None, width=10_000)
    return ["---", *text.splitlines(), "---"]


def escape_text(text: str) -> str:
    r"""Return text on one line in which nothing is Markdown, HTML or a control character.

    Example:
        >>> print(escape_text("my_run <b>"))
        my\_run \<b\>
    """
    return _MARKUP.sub(r"\\\1", escape(" ".join(text.split())))


def escape_cell(text: str) -> str:
    """Return plain text that stays in its cell of a Markdown table."""
    return escape(" ".join(text.split())).replace("|", "\\|")


def escape_code(text: str) -> str:
    """Return text in a code span on one line, which may stand in a cell of a table.

    Example:
        >>> print(escape_code("zho_Hans"))
        `zho_Hans`
    """
    visible = escape_cell(text)

    # The span ends at as many backticks as it began with: more than the text has in a row.
    longest = max((len(run) for run in re.findall("`+", visible)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest or not visible else ""
    return f"{fence}{space}{visible}{space}{fence}"


def quote_python(text: str) -> str:
    r"""Return text as a string of Python, with characters that cannot be seen as escapes.

    Example:
        >>> print(quote_python('say "hi"'), quote_python("a\u202eb"))
        "say \"hi\"" 'a\u202eb'
    """
    return json.dumps(text, ensure_ascii=False) if text.isprintable() else ascii(text)


def make_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table, of cells that are escaped already."""
    first, *others = (f"| {' | '.join(cells)} |" for cells in (header, *rows))
    return [first, "|" + "---|" * len(header), *others]
