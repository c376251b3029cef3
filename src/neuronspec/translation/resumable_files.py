"""Translating into a file, window by window, so that an interrupted translation resumes where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from neuronspec.durability import make_folder
from neuronspec.errors import NeuronspecError
from neuronspec.files import explained, hash_json, hash_path, write_text

WINDOW = 1_000  # sentences that are sorted by length together, and written together

TranslateWindow = Callable[[Sequence[str], Sequence[str]], list[str]]  # sentences, tasks -> translations


def translate_file(
    translate: TranslateWindow,
    sentences: Sequence[str],
    tasks: Sequence[str],
    path: Path,
    settings: object,
    advance: Callable[[int], None] | None = None,
    remember: bool = False,
) -> None:
    """Translate sentences into a file, one line each, in their order.

    After every window the translations so far are safe in a hidden file next to `path`; `path` itself appears whole.
    The same call after an interruption resumes with the next window, if sentences, tasks and settings are the same.

    Args:
        translate: Function that translates sentences, each in the direction of its task.
        sentences: (n,) plain text.
        tasks: (n,) direction of each sentence.
        path: File to write.
        settings: JSON values that decide the translations in addition to the sentences: model, beam size.
        advance: Function that is called with the number of sentences that were translated before.
        remember: Whether to record in another hidden file what `path` was made from, and to leave `path` alone if it
            was made from the same.

    Raises:
        NeuronspecError: If the translations cannot be written, or the hidden file is not one of these.
    """
    partial, record = _name_hidden(path)
    header = _describe_input(sentences, tasks, settings)

    # Finished before, from the same: nothing to do.
    if remember and _is_finished(path, record, header):
        if advance is not None:
            advance(len(sentences))
        return

    # Whatever an interrupted call has left counts as done.
    with explained(path):
        done = _resume(partial, header, most=len(sentences))
    if done and advance is not None:
        advance(len(done))

    # A window is safe on the disk before the next one begins.
    with explained(path), partial.open("a", encoding="utf-8") as file:
        for window in _list_windows(len(done), len(sentences)):
            # A translation is one line, whatever the model writes.
            lines = [" ".join(line.split()) for line in translate(sentences[window], tasks[window])]

            file.write("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
            done += lines

    # The record goes first and comes last: it never describes another file than the one that is there.
    record.unlink(missing_ok=True)
    _write_lines(path, done)
    if remember:
        write_text(record, _describe_output(header, path))
    partial.unlink()


def list_missing(sentences: Sequence[str], tasks: Sequence[str], path: Path, settings: object) -> list[slice]:
    """Return the windows of sentences that `translate_file` would translate, in their order.

    The arguments are those of `translate_file`, which is expected to remember.
    """
    partial, record = _name_hidden(path)
    header = _describe_input(sentences, tasks, settings)
    if _is_finished(path, record, header):
        return []
    done = _read_done(partial, header, most=len(sentences))
    return list(_list_windows(len(done), len(sentences)))


def _list_windows(start: int, end: int) -> Iterator[slice]:
    for first in range(start, end, WINDOW):
        yield slice(first, first + WINDOW)


def _name_hidden(path: Path) -> tuple[Path, Path]:
    """Return two hidden files: the translations so far, and the record of what a finished file was made from."""
    return path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.made_from")


def _describe_input(sentences: Sequence[str], tasks: Sequence[str], settings: object) -> dict[str, str]:
    """Return the first line of the translations so far: a hash of everything that decides them."""
    return {"made_from": hash_json([settings, list(sentences), list(tasks)])}


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))


def _is_finished(path: Path, record: Path, header: dict[str, str]) -> bool:
    """Return whether a file is there and was made from the same."""
    if not path.is_file() or not record.is_file():
        return False
    return record.read_bytes() == _describe_output(header, path).encode()


def _describe_output(header: dict[str, str], path: Path) -> str:
    """Return a description of what a finished file was made from, and of its content."""
    return json.dumps(header | {"output": hash_path(path)})


def _resume(partial: Path, header: dict[str, str], most: int) -> list[str]:
    """Return the translations that an interrupted call left; without any, start a new file for them."""
    make_folder(partial.parent)
    if partial.is_symlink() or (partial.exists() and not partial.is_file()):
        raise NeuronspecError(f"{partial} is no file: remove it to start again")
    done = _read_done(partial, header, most)
    if not done:
        partial.write_text(json.dumps(header) + "\n", encoding="utf-8")
    return done


def _read_done(partial: Path, header: dict[str, str], most: int) -> list[str]:
    """Return the translations that an interrupted call left, if it translated the same.

    A last line that was not written whole is removed from the file, since new lines will be appended.

    Raises:
        NeuronspecError: If the file is damaged.
    """
    if not partial.is_file():
        return []

    # Whatever follows the last line break was not written whole.
    raw = partial.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    try:
        values = [json.loads(line) for line in whole.decode("utf-8").splitlines()]
    except (ValueError, RecursionError) as error:
        raise NeuronspecError(f"{partial} is damaged: remove it to start again") from error

    # With other sentences or settings, nothing of it can be used.
    if not values or values[0] != header or len(values) - 1 > most:
        return []
    if not all(isinstance(value, str) for value in values[1:]):
        raise NeuronspecError(f"{partial} is damaged: remove it to start again")

    # New lines are appended, so that nothing half-written may stay in front of them.
    if len(whole) < len(raw):
        partial.write_bytes(whole)

    return values[1:]  # without the header
