"""Text of others on a terminal: names, paths and lines that may hold control characters."""

from __future__ import annotations

import re
from typing import Final

# C0 and C1 controls, line and paragraph separators, embeddings, overrides and isolates that reorder what is read, and
# surrogates (bytes of a file's name that are no UTF-8). Direction marks and joiners belong to ordinary text and stay.
_CONTROLS: Final = "\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
CONTROL: Final = re.compile(f"[{_CONTROLS}]")
_ALL_BUT_NEWLINES: Final = re.compile(f"(?!\n)[{_CONTROLS}]")
_ALL_BUT_BREAKS: Final = re.compile(f"(?![\n\t])[{_CONTROLS}]")
INDENT: Final = "  "
_UNINDENTED: Final = re.compile(f"\n(?!{INDENT})")


def escape(text: str) -> str:
    r"""Return text on one line whose control characters can be seen and do nothing.

    Example:
        >>> print(escape("de-en\x1b[2J\nerror: forged"))
        de-en\x1b[2J\nerror: forged
        >>> escape("می‌خواهم") == "می‌خواهم"
        True
    """
    return CONTROL.sub(_show, text)


def escape_lines(text: str) -> str:
    r"""Return text of several lines whose control characters do nothing.

    Every line but the first is indented, so that a name with a line break cannot pass for a message of ours.

    Example:
        >>> print(escape_lines("no file a\x07\nerror: forged"))
        no file a\x07
          error: forged
    """
    return _UNINDENTED.sub(f"\n{INDENT}", _ALL_BUT_NEWLINES.sub(_show, text).rstrip("\n"))


def escape_text(text: str) -> str:
    r"""Return text whose line breaks and tabs stay and whose other control characters do nothing."""
    return _ALL_BUT_BREAKS.sub(_show, text)


def escape_json(text: str) -> str:
    r"""Return JSON with the control characters that JSON itself allows in strings written as escapes.

    Example:
        >>> escape_json('{"name": "a\u2028b"}')
        '{"name": "a\\u2028b"}'
    """
    return _ALL_BUT_NEWLINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _show(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
