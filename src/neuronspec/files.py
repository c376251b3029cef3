"""Files written whole or not at all, and the hashes that name their content."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from neuronspec.errors import NeuronspecError
from neuronspec.terminal import escape


@contextlib.contextmanager
def publish(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path` in one rename.

    Whatever the body writes there, a file or a directory, is flushed to disk before the rename (promise R3);
    if the body fails, nothing is left behind and an earlier `path` is untouched.

    Args:
        path: the file or directory to publish. Missing parents are created.

    Yields:
        The path to write to. The body creates it, as a file or as a directory.

    Raises:
        NeuronspecError: the disk is full or read-only, or something else than a file or directory is in the way.
    """
    if path.is_symlink():
        path = path.resolve()  # what it points to is written, and it stays
    if not path.name or (path.exists() and not path.is_file() and not path.is_dir()):
        raise NeuronspecError(f"cannot write {path}: it is no place for a file; choose another")
    temporary = path.with_name(f".{path.name}.tmp")  # the same each time: what a killed run left is cleared
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)
        try:
            yield temporary
            for file in [temporary] if temporary.is_file() else filter(Path.is_file, temporary.rglob("*")):
                file.chmod(0o666 & ~_umask())  # safetensors writes files that only their owner may read
            _sync(temporary)
            if temporary.is_dir() and path.exists():  # a directory cannot be renamed over a full one
                old = path.with_name(f".{path.name}.old")
                _remove(old)
                path.rename(old)
                temporary.rename(path)
                _remove(old)
            else:
                temporary.replace(path)
            _sync_entry(path.parent)
        finally:
            _remove(temporary)


def refuse_links(directory: Path) -> None:
    """Refuse a directory of results in which a link leads out of it: what is written there would land elsewhere.

    Archives and repositories can carry such links, and `publish` writes what a link points to. The directory itself
    may be a link.

    Args:
        directory: Directory that results will be written into; it need not exist.

    Raises:
        NeuronspecError: It holds such a link.
    """
    root = directory.resolve()
    for folder, folders, files in os.walk(directory):
        for path in (Path(folder, name) for name in (*folders, *files)):
            if path.is_symlink() and not _is_inside(path, root):
                raise NeuronspecError(
                    f"{path} is a link that leads out of {directory}, so that results would be written elsewhere: "
                    "replace it by what it points to, or choose another --out"
                )


def _is_inside(link: Path, root: Path) -> bool:
    try:
        return link.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a link to itself
        return False


def _umask() -> int:
    """Return the process' mask of file permissions, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write below `path` into one clear sentence."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reasons = {
            errno.ENOSPC: "no space is left on the disk; free some and run the same command again",
            errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
            errno.EROFS: "the file system is read-only; choose another place with --out",
            errno.EACCES: "permission denied; choose another place with --out",
            errno.EFBIG: "the file would be larger than allowed here",
            errno.ENOTDIR: "a part of this path is a file, not a directory; choose another place with --out",
            errno.EISDIR: "a directory is in its place; choose another name",
            errno.EEXIST: "a part of this path is a file, not a directory; choose another place with --out",
        }
        number = error.errno if isinstance(error, OSError) else _error_number(error)
        if number not in reasons:
            raise
        raise NeuronspecError(f"cannot write {path}: {reasons[number]}") from error


def write_text(path: Path, text: str) -> None:
    """Publish `text` as the UTF-8 file `path`."""
    with publish(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Publish `value` as indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        NeuronspecError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NeuronspecError(f"{path} does not exist") from error
    except (ValueError, RecursionError) as error:
        raise NeuronspecError(f"{path} is not valid JSON: {error}") from error


def format_csv(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as CSV in which no cell is a formula to a spreadsheet; every CSV file of ours is made here.

    Names come from strangers, and spreadsheets compute what begins with `=`, `+`, `-` or `@`: such text gets an
    apostrophe in front. Numbers stay numbers, negative ones too. Control characters are escaped: no cell ends a row.

    Example:
        >>> print(format_csv([["name", "gain"], ["=1+1", -0.3], ["-0.3", None]]), end="")
        name,gain
        '=1+1,-0.3
        -0.3,
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_defuse(cell) for cell in row] for row in rows)
    return text.getvalue()


def _defuse(cell: object) -> object:
    """Return a cell that no spreadsheet takes for a formula."""
    if not isinstance(cell, str):
        return cell
    text = escape(cell)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


# What spreadsheets look at first: white space may stand before it, and East Asian ones know wide signs too.
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]\s*\S")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def hash_json(value: Any) -> str:
    """Return the SHA-256 of a JSON value, whatever the order of its keys.

    Example:
        >>> hash_json({"a": 1, "b": 2}) == hash_json({"b": 2, "a": 1})
        True
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()  # bytes of arguments that are not UTF-8


def hash_path(path: Path) -> str:
    """Return the SHA-256 of a file, or of a directory's file names and contents."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return hash_json({file.relative_to(path).as_posix(): hash_path(file) for file in files})
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _error_number(error: SafetensorError) -> int | None:
    """Return the operating system's error number, which safetensors gives as words only."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    for entry in [path, *path.rglob("*")] if path.is_dir() else [path]:
        _sync_entry(entry)


def _sync_entry(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
