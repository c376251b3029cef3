"""The character set of a gettext catalog, which its own header declares."""

from __future__ import annotations

import codecs
import re

from neuronspec.errors import NeuronspecError

# The header is the message without a text: `msgid ""`, a line end, and `msgstr` with one or several strings. A
# message whose text begins on the next line also starts with `msgid ""`, and an obsolete one with `#~`.
_STRING = rb'"(?:[^"\\\r\n]|\\[^\r\n])*"'
_HEADER = re.compile(
    rb'^[ \t]*msgid[ \t]*""(?:[ \t\r\n]*"")*[ \t]*\r?\n(?:[ \t]*\r?\n)*'
    rb"[ \t]*msgstr[ \t]*((?:" + _STRING + rb"[ \t]*(?:\r?\n[ \t]*)*)+)",
    re.MULTILINE,
)
# The context that stands right in front of a message, on one line or several.
_CONTEXT = re.compile(rb"^[ \t]*msgctxt\b[^\n]*\n(?:[ \t]*\"[^\n]*\n)*\Z", re.MULTILINE)
_PIECE = re.compile(_STRING)
_DECLARED = re.compile(rb"charset=[ \t]*([^\s\\;\"']+)", re.IGNORECASE)

# What every character set of a catalog has in common; EBCDIC, UTF-16 and other codecs fail on it.
_ASCII = bytes([*range(32, 127), 9, 10, 13])
# Codecs of Python that are no character sets, or that switch between several with escape sequences.
_NO_CHARSETS = re.compile(r"charmap|idna|(raw-)?unicode-escape|iso2022.*")


def find_charset(raw: bytes, name: str) -> str:
    """Return the character set that a `.po` file declares, as gettext reads it.

    A byte order mark means UTF-8. So does a catalog without a header, and one whose header still has the placeholder
    `CHARSET`: gettext takes these for ASCII, of which UTF-8 is an extension.

    Args:
        raw: Content of the file.
        name: Name of the file, for messages.

    Returns:
        The name of a Python codec.

    Raises:
        NeuronspecError: If the character set is unknown.

    Example:
        >>> find_charset(b'msgid ""\\nmsgstr "Content-Type: text/plain; charset=KOI8-R\\\\n"', "ru.po")
        'koi8-r'
    """
    declared = _find_declared(raw)
    if raw.startswith(codecs.BOM_UTF8) or declared is None or declared == "CHARSET":
        return "utf-8"

    # Python has codecs for other things than text, too, and for character sets that do not contain ASCII.
    try:
        codec = codecs.lookup(declared).name
        is_charset = not _NO_CHARSETS.fullmatch(codec) and _ASCII.decode(codec) == _ASCII.decode("ascii")
    except (LookupError, UnicodeError, ValueError):
        is_charset = False
    if not is_charset:
        raise NeuronspecError(
            f"{name} declares the charset {declared!r}, which is unknown here; convert it with msgconv -t UTF-8"
        )
    return "utf-8" if codec == "ascii" else codec  # every ASCII text is UTF-8, too


def _find_declared(raw: bytes) -> str | None:
    """Return the character set after `charset=` in the header of a catalog, or None."""
    for found in _HEADER.finditer(raw):
        if _CONTEXT.search(raw, 0, found.start()):
            continue  # a message that is empty in some context
        header = b"".join(piece[1:-1] for piece in _PIECE.findall(found[1]))
        declared = _DECLARED.search(header)
        return declared[1].decode("ascii", errors="replace") if declared else None
    return None
