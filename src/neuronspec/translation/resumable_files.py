"""Translating files: window by window, so that an interrupted translation goes on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from neuronspec.errors import NeuronspecError
from neuronspec.files import explained, hash_json, hash_path, write_text

WINDOW = 1_000  # sentences that are sorted by length together, and written together

Translate = Callable[[Sequence[str], Sequence[str]], list[str]]  # sentences, tasks -> translations


def translate_file(
    translate: Translate,
    sentences: Sequence[str],
    tasks: Sequence[str],
    path: Path,
    settings: object,
    advance: Callable[[int], None] | None = None,
    remember: bool = False,
) -> None:
    """Translate sentences into a file, a line each, in their order.

    After every window the translations so far are safe beside `path`; the file itself appears whole. The same call
    after an interruption goes on with the next window, where sentences, tasks and settings are the same.

    Args:
        translate: translates some sentences, each in the direction of its task.
        sentences: (n,) plain text.
        tasks: (n,) the direction of each sentence.
        path: the file to write.
        settings: JSON values that decide the translations beside the sentences: model, beam size.
        advance: is called with the number of sentences that were translated before.
        remember: keep beside `path`, in a hidden file, what it was made from, and leave it alone when called again
            with the same.

    Raises:
        NeuronspecError: the translations cannot be written, or something else lies where they are kept.
    """
    partial = path.with_name(f".{path.name}.part")
    header = {"made_from": hash_json([settings, list(sentences), list(tasks)])}
    record = path.with_name(f".{path.name}.made_from")
    if remember and path.is_file() and record.is_file() and record.read_bytes() == _describe(header, path):
        if advance is not None:
            advance(len(sentences))
        return
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        done = list(_read_done(partial, header, len(sentences)))
        if not done:
            partial.write_text(json.dumps(header) + "\n", encoding="utf-8")
    if done and advance is not None:
        advance(len(done))
    with explained(path), partial.open("a", encoding="utf-8") as file:
        for start in range(len(done), len(sentences), WINDOW):
            window = slice(start, start + WINDOW)
            lines = [" ".join(line.split()) for line in translate(sentences[window], tasks[window])]
            file.write("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
            done += lines
    record.unlink(missing_ok=True)
    write_text(path, "".join(f"{line}\n" for line in done))
    if remember:
        write_text(record, _describe(header, path).decode())
    partial.unlink()


def _describe(header: dict[str, str], path: Path) -> bytes:
    """Return what a finished file was made from, and what it holds."""
    return json.dumps(header | {"output": hash_path(path)}).encode()


def _read_done(path: Path, header: dict[str, str], most: int) -> Iterator[str]:
    """Yield the translations that an interrupted call left, without a last line that was not written whole."""
    if not path.is_file():
        return
    raw = path.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    try:
        first, *lines = [json.loads(line) for line in whole.decode("utf-8").splitlines()] or [None]
    except ValueError as error:
        raise NeuronspecError(f"{path} is damaged: remove it to begin anew") from error
    if first != header or len(lines) > most:
        return
    if len(whole) < len(raw):
        path.write_bytes(whole)
    yield from lines
