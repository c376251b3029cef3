"""Names of layers, tasks and systems: which names a file may use, and how names become paths.

Mask files, counts and results may come from other people. Their names end up in paths, tables and on terminals, so they
are checked where a file is loaded, and `child` makes paths of them that stay in their folder.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from neuronspec.errors import NeuronspecError
from neuronspec.terminal import CONTROL

LONGEST: Final = 400  # characters of a name
_LAYER: Final = re.compile(r"(encoder|decoder)\.[0-9]{1,4}(\.expert\.([0-9]{1,4}|shared))?")
_SHOWN: Final = 80  # characters of a refused name in its message
# What has a meaning for some file system, and the percent sign, with which an encoded byte begins.
_UNSAFE: Final = re.compile(rf"[%/\\:*?\"<>|]|{CONTROL.pattern}")
_UNSAFE_OR_FOREIGN: Final = re.compile(rf"{_UNSAFE.pattern}|[^\x00-\x7f]")
# Windows takes these for devices, whatever extension follows.
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)( *\..*)?", re.IGNORECASE)
_LONGEST_NAME: Final = 200  # bytes: file systems allow 255, and temporary files have longer names
_KEPT_OF_LONG: Final = 80  # bytes of a long name in front of its hash


def check_layers(names: Iterable[Any], where: object = "") -> None:
    """Refuse names that are not those of FFN layers: `encoder.0`, `decoder.11`, `encoder.3.expert.7`.

    Args:
        names: Names of layers.
        where: File that they come from, for the message.

    Raises:
        NeuronspecError: If one of them is not such a name.

    Example:
        >>> check_layers(["encoder.0", "decoder.11", "encoder.3.expert.7", "decoder.3.expert.shared"])
        >>> check_layers(["encoder./../../logo"], "masks.safetensors")
        Traceback (most recent call last):
        neuronspec.errors.NeuronspecError: masks.safetensors: a layer is called encoder.N or decoder.N, not \
'encoder./../../logo'; an expert is called encoder.N.expert.N
    """
    for name in names:
        if not isinstance(name, str) or not _LAYER.fullmatch(name):
            raise NeuronspecError(
                f"{_introduce(where)}a layer is called encoder.N or decoder.N, not {_shorten_refused(name)}; "
                "an expert is called encoder.N.expert.N"
            )


def check_names(names: Iterable[Any], kind: str = "task", where: object = "") -> None:
    """Refuse names that no task, system or metric can have; any readable text is allowed.

    Args:
        names: Names, as a file gives them.
        kind: Word for what is named, for the message.
        where: File that they come from, for the message.

    Raises:
        NeuronspecError: If a name is not text, is empty or too long, or holds control characters.

    Example:
        >>> check_names(["de-en", "any name / at all", "فارسی"])
        >>> check_names(["de-en\\x1b[2J"])
        Traceback (most recent call last):
        neuronspec.errors.NeuronspecError: 'de-en\\x1b[2J' cannot name a task: it holds control characters
    """
    for name in names:
        fault = _find_fault(name)
        if fault is not None:
            raise NeuronspecError(f"{_introduce(where)}{_shorten_refused(name)} cannot name a {kind}: {fault}")


def child(folder: Path, name: str, suffix: str = "") -> Path:
    """Return the path of the file for a name: always an entry of the folder itself, and a different one for every name.

    This is the one place where names of tasks, layers, systems and methods become file names. An ordinary name is
    unchanged. Anything that has a meaning for a file system is percent-encoded: separators, `..` and other leading
    dots, control characters, names that Windows reserves. A very long name is cut, and a hash replaces the rest.

    Args:
        folder: Folder of the file.
        name: Name of a task, a layer, a system.
        suffix: End of the file's name, from our own code: `.txt`.

    Example:
        >>> child(Path("out"), "de-en", ".txt").as_posix(), child(Path("out"), "../../etc/passwd").as_posix()
        ('out/de-en.txt', 'out/%2E.%2F..%2Fetc%2Fpasswd')
    """
    encoded = _encode_name(name)

    # Cut names may be equal in what is left: the hash of the whole name keeps them different.
    if len(encoded.encode()) > _LONGEST_NAME:
        start = encoded.encode()[:_KEPT_OF_LONG].decode(errors="ignore")  # half a character is dropped
        digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
        encoded = f"{start}%~{digest}"  # no encoded name holds %~

    path = folder / f"{encoded}{suffix}"
    # Whatever the name was, the path stays in its folder.
    assert path.parent == folder
    return path


def _encode_name(name: str) -> str:
    """Return a file name that every system allows, a different one for every name."""
    # A Mac takes the composed and the decomposed form of a name for the same file.
    unsafe = _UNSAFE if unicodedata.is_normalized("NFC", name) else _UNSAFE_OR_FOREIGN
    encoded = unsafe.sub(lambda found: _percent(found[0]), name)

    if not encoded:
        return "%"  # no other name is encoded like this

    # A leading dot hides a file or leads upwards; Windows drops dots and spaces at the end.
    if encoded[0] in ". " or _RESERVED.fullmatch(encoded):
        encoded = _percent(encoded[0]) + encoded[1:]
    if encoded[-1] in ". ":
        encoded = encoded[:-1] + _percent(encoded[-1])
    return encoded


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode(errors="surrogatepass"))


def _find_fault(name: Any) -> str | None:
    """Return what is wrong with a name, or None."""
    if not isinstance(name, str):
        return "expected text"
    if not name.strip():
        return "it is empty"
    if len(name) > LONGEST:
        return f"it has {len(name):,} characters, at most {LONGEST} are expected"
    if CONTROL.search(name):
        return "it holds control characters"
    return None


def _introduce(where: object) -> str:
    return f"{where}: " if str(where) else ""


def _shorten_refused(name: Any) -> str:
    """Return the beginning of a refused name, with control characters escaped."""
    text = repr(name)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
