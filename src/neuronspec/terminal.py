"""Safe output on a terminal of names, paths and lines from other people, which may hold control characters."""

from __future__ import annotations

import re
from typing import Final

# C0 and C1 controls, line and paragraph separators, embeddings, overrides and isolates that reorder what is read, and
# surrogates (bytes of a file name that are not UTF-8). Direction marks and joiners belong to ordinary text and stay.
_CONTROLS: Final = "\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
CONTROL: Final = re.compile(f"[{_CONTROLS}]")
# For text of several lines, whose breaks stay.
_ALL_BUT_NEWLINES: Final = re.compile(f"(?!\n)[{_CONTROLS}]")
_ALL_BUT_BREAKS: Final = re.compile(f"(?![\n\t])[{_CONTROLS}]")
INDENT: Final = "  "
_UNINDENTED: Final = re.compile(f"\n(?!{INDENT})")


def escape(text: str) -> str:
    r"""Return text on one line, with control characters escaped so that they are visible and have no effect.

    Example:
        >>> print(escape("de-en\x1b[2J\nerror: forged"))
        de-en\x1b[2J\nerror: forged
        >>> escape("می‌خواهم") == "می‌خواهم"
        True
    """
    return CONTROL.sub(_escape_match, text)


def escape_lines(text: str) -> str:
    r"""Return text of several lines, with control characters escaped.

    Every line but the first is indented, so that a name with a line break cannot look like a message of ours.

    Example:
        >>> print(escape_lines("no file a\x07\nerror: forged"))
        no file a\x07
          error: forged
    """
    return _UNINDENTED.sub(f"\n{INDENT}", _ALL_BUT_NEWLINES.sub(_escape_match, text).rstrip("\n"))


def escape_text(text: str) -> str:
    r"""Return text with control characters escaped, except for line breaks and tabs."""
    return _ALL_BUT_BREAKS.sub(_escape_match, text)


def escape_json(text: str) -> str:
    r"""Return JSON in which the control characters that strings may hold are written as escapes.

    Example:
        >>> escape_json('{"name": "a\u2028b"}')
        '{"name": "a\\u2028b"}'
    """
    # Newlines are layout: those within strings are escaped already. All others fit into four digits.
    return _ALL_BUT_NEWLINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape_match(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
