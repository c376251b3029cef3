"""Normal forms of text: for training, and for deciding when a text is empty and when two texts are the same.

Cleaning, holding out and scoring all use the one definition here.

What a reader cannot see makes no difference: a zero-width space, a byte order mark within a text, a direction mark.
The joiners U+200C and U+200D are invisible as well, but within a word they change how the letters around them look
(Persian, Indic scripts, emoji), so there they count.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

# Unicode's Default_Ignorable_Code_Point but for the two joiners: soft hyphen, zero-width space, direction marks,
# variation selectors, fillers, byte order mark, tags ... (Unicode promises that this list only grows where it is
# unassigned, and these ranges hold the unassigned ones already); then interlinear annotation marks.
_IGNORABLE = (
    "\u00ad\u034f\u061c\u115f-\u1160\u17b4-\u17b5\u180b-\u180f\u200b\u200e-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\ufff9-\ufffb"
)
_JOINERS = "\u200c\u200d"

# Control characters, the blank of Braille, the halves of surrogate pairs (which no file can hold) and the code points
# that are no characters: they separate words, as white space does.
_SEPARATING = r"\x00-\x1f\x7f-\x9f\u2800\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"

_VISIBLE = re.compile(rf"[^\s{_SEPARATING}{_IGNORABLE}{_JOINERS}]")
_SEPARATORS = re.compile(f"[{_SEPARATING}]")
_IGNORED = re.compile(f"[{_IGNORABLE}]")
_UNUSUAL = re.compile(f"[{_IGNORABLE}{_SEPARATING}{_JOINERS}]")
_JOINED = re.compile(f"[{_JOINERS}]+")

# Control characters, and the halves of surrogate pairs, which no file can hold.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_VIRAMA = 9  # the canonical combining class of the signs that take a consonant's vowel away


def normalize_text(text: str) -> str:
    """Return `text` in Unicode NFC, with every run of white space or control characters as one space.

    Invisible characters stay: some languages need them. `comparison_form` compares texts without them.

    Example:
        >>> normalize_text(" Guten\\tMorgen\\u2028\\n")
        'Guten Morgen'
    """
    text = unicodedata.normalize("NFC", text)

    # Printable text, the usual case, holds no control characters.
    if not text.isprintable():
        text = _CONTROL.sub(" ", text)
    return " ".join(text.split())


def is_empty(text: str) -> bool:
    """Return whether a text has no visible character.

    Example:
        >>> is_empty(" \\u200b\\ufeff\\n"), is_empty("."), is_empty("\\u200c")
        (True, False, True)
    """
    return _VISIBLE.search(text) is None


def comparison_form(text: str) -> str:
    """Return the form that two texts share if, and only if, they are the same text to a reader.

    Invisible characters are gone, every run of white space and control characters is one space, and what is left is
    in Unicode NFC. A joiner stays within a word, and after a virama, where it decides how the consonant is written.
    Letter case and punctuation make a difference. The form is for comparing, not for reading or training.

    Example:
        >>> comparison_form("\\ufeffGuten\\u00a0 Mor\\u00adgen\\u200b ")
        'Guten Morgen'
        >>> comparison_form("می\\u200cخواهم") == comparison_form("میخواهم")
        False
    """
    # Most text has nothing to look for.
    if not (text.isascii() and text.isprintable()) and _UNUSUAL.search(text) is not None:
        # In this order: a joiner is judged by the visible characters around it.
        text = _IGNORED.sub("", text)
        text = _SEPARATORS.sub(" ", text)
        text = _JOINED.sub(_keep_within_words, text)
    return unicodedata.normalize("NFC", " ".join(text.split()))


def hash_forms(*forms: str) -> int:
    """Return a 64-bit number for the forms of one or several texts, the same on every machine.

    Where millions of sentences must be known again, memory holds these numbers instead of the sentences.

    Args:
        forms: Results of `comparison_form`.

    Example:
        >>> hash_forms("a b", "c") == hash_forms("a", "b c")
        False
    """
    # 64 bits: the chance that any two of 10 million sentences share a number is 3 in a million.
    joined = "\t".join(forms)  # no form holds a TAB
    return int.from_bytes(hashlib.blake2b(joined.encode(), digest_size=8).digest(), "big")


def _keep_within_words(found: re.Match[str]) -> str:
    """Return a run of joiners, each once, if it stands where it changes what a reader sees; else nothing."""
    text = found.string

    # The characters around the run, empty at the ends of the text.
    before = text[max(found.start() - 1, 0) : found.start()]
    after = text[found.end() : found.end() + 1]

    within = _belongs_to_word(before) and _belongs_to_word(after)
    after_virama = before != "" and unicodedata.combining(before) == _VIRAMA
    return "".join(dict.fromkeys(found[0])) if within or after_virama else ""


def _belongs_to_word(character: str) -> bool:
    """Return whether a character is a letter, mark, number or symbol (emoji are symbols)."""
    return character != "" and unicodedata.category(character)[0] in "LMNS"
