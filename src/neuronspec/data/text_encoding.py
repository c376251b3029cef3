"""From bytes to text: UTF-8, and error messages for anything else."""

from __future__ import annotations

import codecs
from pathlib import Path

from neuronspec.errors import NeuronspecError

_SAMPLE = 512  # bytes that show whether every second one is zero

_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before that of UTF-16, with which it begins
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def decode_text(raw: bytes, name: str | Path, line: int = 1, encoding: str = "utf-8") -> str:
    """Return `raw`, which begins at line `line` of the file `name`, as text; a byte order mark is dropped.

    Args:
        raw: Bytes to decode.
        name: Name of the file, for messages.
        line: Number of the first line in `raw`.
        encoding: Name of the encoding.

    Raises:
        NeuronspecError: If the bytes are not in this encoding.
    """
    # Only the beginning of a file can have a byte order mark.
    if line == 1:
        _refuse_wide(raw, name)
        raw = raw.removeprefix(codecs.BOM_UTF8)

    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        byte = raw[error.start]

    # Where the first wrong byte is, as line and column
    line += before.count(b"\n")
    start_of_line = before[before.rfind(b"\n") + 1 :].decode(encoding, errors="replace")
    found = f"byte 0x{byte:02x} at column {len(start_of_line) + 1}"

    # UTF-8 is expected of every file; another encoding is what the file itself declares.
    if encoding == "utf-8":
        raise NeuronspecError(f"{name}:{line} is not UTF-8 ({found}); convert it with iconv -f ITS_ENCODING -t UTF-8")
    raise NeuronspecError(f"{name}:{line} is not {encoding} ({found}), though the file declares it; correct its header")


def _refuse_wide(raw: bytes, name: str | Path) -> None:
    """Refuse text in UTF-16 or UTF-32."""
    found = _find_wide_encoding(raw)
    if found is not None:
        raise NeuronspecError(f"{name}:1 is not UTF-8 but {found}; convert it with iconv -f {found} -t UTF-8")


def _find_wide_encoding(raw: bytes) -> str | None:
    """Return the encoding that a byte order mark, or a zero in every second byte, shows."""
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if raw.startswith(mark):
            return encoding

    # Without a mark: in UTF-16, every other byte of Latin text is zero.
    even, odd = raw[:_SAMPLE:2], raw[1:_SAMPLE:2]
    if len(odd) < 3:  # too short to judge by
        return None
    if not any(odd) and all(even):
        return "UTF-16LE"
    if not any(even) and all(odd):
        return "UTF-16BE"
    return None
