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
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from neuronspec.durability import make_folder, name_temporary, recover_name, remove, replace, sync_tree
from neuronspec.errors import NeuronspecError
from neuronspec.reading_limits import FILE, Limit, read_file
from neuronspec.terminal import escape


@contextlib.contextmanager
def publish(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; on success it replaces `path` in one step.

    Whatever the body writes there, a file or a directory, is flushed to disk before it gets its name (promise R3);
    if the body fails, nothing is left behind and an earlier `path` is untouched.

    Args:
        path: File or directory to publish. Missing parents are created.

    Yields:
        The path to write to. The body creates it, as a file or as a directory.

    Raises:
        NeuronspecError: If the disk is full or read-only, or something other than a file or directory is in the way.
    """
    if path.is_symlink():
        path = path.resolve()  # what it points to is written, and the link stays
    if not path.name or (path.exists() and not path.is_file() and not path.is_dir()):
        raise NeuronspecError(f"cannot write {path}: it is no place for a file; choose another")

    temporary = name_temporary(path)
    with explained(path):
        _make_parents(path)
        recover_name(path)
        remove(temporary)
        try:
            with _finding_places(path, temporary):
                yield temporary
            _allow_reading(temporary)
            # The content reaches the disk before its name does, so that a crash leaves no file half written.
            sync_tree(temporary)
            replace(path, temporary)
        finally:
            remove(temporary)


def _make_parents(path: Path) -> None:
    """Make the folder of a path.

    Raises:
        NeuronspecError: If it is in a place such as `/proc`, where the system makes no folders.
    """
    try:
        make_folder(path.parent)
    except FileNotFoundError as error:
        raise NeuronspecError(f"cannot write {path}: no folder can be made there; choose another place") from error


@contextlib.contextmanager
def _finding_places(path: Path, temporary: Path) -> Iterator[None]:
    """Explain that a folder such as `/proc` takes nothing, although it exists."""
    try:
        yield
    except FileNotFoundError as error:
        # Only where nothing can be made is the place at fault.
        if error.filename != str(temporary) or temporary.exists():
            raise
        try:
            temporary.touch()
        except FileNotFoundError:
            raise NeuronspecError(
                f"cannot write {path}: nothing can be made in its folder; choose another place"
            ) from error
        raise


def _allow_reading(path: Path) -> None:
    """Give files the usual permissions: safetensors writes files that only their owner may read."""
    files = [path] if path.is_file() else filter(Path.is_file, path.rglob("*"))
    for file in files:
        # A file with a second name is that of another run as well, which nothing here may change.
        if file.stat().st_nlink == 1:
            file.chmod(0o666 & ~_umask())


def publish_link(source: Path, target: Path, *, copied: Collection[str] = ()) -> bool:
    """Publish a file or directory under a second name, by hard links: no byte is copied, unless it has to be.

    Everything of ours is written anew and renamed, never changed in place, so that neither name sees what is later
    published under the other.

    Args:
        source: File or directory, which is not changed.
        target: Second name. What it holds is replaced.
        copied: Names of files that are copied, because people edit them in place.

    Returns:
        Whether all other files are linked; they are copied from one file system to another, and where links are not
        allowed.

    Raises:
        FileNotFoundError: If a part of the source disappears meanwhile.
        NeuronspecError: If the disk is full or read-only.
    """
    with publish(target) as temporary:
        if not source.is_dir():
            return _link_file(source, temporary)

        # Sorted, so that every folder comes before its content
        temporary.mkdir()
        linked = True
        for path in sorted(source.rglob("*")):
            place = temporary / path.relative_to(source)
            if path.is_dir():
                place.mkdir()
            elif path.name in copied:
                shutil.copy2(path, place)
            else:
                linked &= _link_file(path, place)
        return linked


# The system's reasons not to link a file that can still be copied
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP}


def _link_file(source: Path, target: Path) -> bool:
    """Give a file a second name, or copy it; return whether it is linked."""
    try:
        # A symbolic link could lead anywhere: its content is taken.
        if not source.is_symlink():
            os.link(source, target)
            return True
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise

    shutil.copy2(source, target)  # with its time, by which it is recognized
    return False


def refuse_links(directory: Path) -> None:
    """Refuse a directory of results with a link that leads out of it, since results would be written elsewhere.

    Archives and repositories can carry such links, and `publish` writes what a link points to. The directory itself
    may be a link.

    Args:
        directory: Directory that results will be written into; it need not exist.

    Raises:
        NeuronspecError: If it holds such a link.
    """
    root = directory.resolve()

    # Links to directories are among the folders, but are not followed.
    for folder, folders, files in os.walk(directory):
        for path in (Path(folder, name) for name in (*folders, *files)):
            if path.is_symlink() and not _stays_inside(path, root):
                raise NeuronspecError(
                    f"{path} is a link that leads out of {directory}, so that results would be written elsewhere: "
                    "replace it by what it points to, or choose another --out"
                )


def _stays_inside(link: Path, root: Path) -> bool:
    try:
        return link.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a link to itself
        return False


def _umask() -> int:
    """Return the mask of file permissions of this process, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write below `path` into one clear sentence."""
    try:
        yield
    except Exception as error:  # libraries in Rust raise kinds of their own
        # What users can do something about; all other errors stay as they are.
        reasons = {
            errno.ENOSPC: "no space is left on the disk; free some and run the same command again",
            errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
            errno.EROFS: "the file system is read-only; choose another place with --out",
            errno.EACCES: "permission denied; choose another place with --out",
            errno.EPERM: "the system does not permit it; choose another place with --out",
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
        NeuronspecError: If the file is missing, cannot be read, is too large, or is not JSON.
    """
    raw = read_file(path)
    try:
        return json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # RecursionError: it is nested too deeply
        raise NeuronspecError(f"{path} is not valid JSON: {error}") from error


def read_text(path: Path, refusal: str | None = None, limit: Limit = FILE) -> str:
    """Read a file of UTF-8 text as a whole.

    Args:
        path: Path of the file.
        refusal: Message about a file that is not UTF-8.
        limit: Limit in bytes.

    Raises:
        NeuronspecError: If the file is missing, cannot be read, is too large, or is not UTF-8.
    """
    try:
        return read_file(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise NeuronspecError(refusal or f"{path} is not UTF-8 text: {error}") from error


def format_csv(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as CSV in which no cell is a formula to a spreadsheet; all our CSV files are made here.

    Names may come from untrusted files, and spreadsheets evaluate text that begins with `=`, `+`, `-` or `@`: such
    text gets an apostrophe in front. Numbers stay numbers, including negative ones. Control characters are escaped,
    so that no cell ends a row.

    Example:
        >>> print(format_csv([["name", "gain"], ["=1+1", -0.3], ["-0.3", None]]), end="")
        name,gain
        '=1+1,-0.3
        -0.3,
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow(map(_defuse, row))
    return text.getvalue()


def _defuse(cell: object) -> object:
    """Return a cell that no spreadsheet evaluates as a formula."""
    if not isinstance(cell, str):
        return cell

    text = escape(cell)
    # A plain number is data, even if it begins with a sign.
    is_formula = _FORMULA.match(text) and not _PLAIN_NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text


# The beginning of a formula. White space may come first, and East Asian spreadsheets accept wide signs as well.
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]\s*\S")
# What begins like a formula but is data: -0.3, +1e5.
_PLAIN_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def hash_json(value: Any) -> str:
    """Return the SHA-256 of a JSON value, whatever the order of its keys.

    Example:
        >>> hash_json({"a": 1, "b": 2}) == hash_json({"b": 2, "a": 1})
        True
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()  # bytes of arguments that are not UTF-8


def hash_path(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of the files in a directory."""
    if path.is_dir():
        return hash_files(path, (file for file in path.rglob("*") if file.is_file()))

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(directory: Path, files: Iterable[Path]) -> str:
    """Return the SHA-256 of the names and contents of some files in a directory."""
    # The relative names, each with the hash of its content
    return hash_json({file.relative_to(directory).as_posix(): hash_path(file) for file in sorted(files)})


def _error_number(error: Exception) -> int | None:
    """Return the operating system's error number, which safetensors and tokenizers give as words only."""
    if not isinstance(error, SafetensorError) and type(error) is not Exception:
        return None
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None
