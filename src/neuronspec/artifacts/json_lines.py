"""JSON lines: rows that are dataclasses, one a line, read back strictly."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from neuronspec.errors import NeuronspecError
from neuronspec.files import publish
from neuronspec.reading_limits import TEXT, read_file
from neuronspec.terminal import escape
from neuronspec.version import __version__

Row = TypeVar("Row")

LINE: Final = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
"""Configuration of a dataclass that is read from JSON lines: `@with_config(LINE)`."""


def write_json_lines(path: Path, rows: Iterable[Any]) -> None:
    """Publish dataclasses as JSON lines.

    Args:
        path: Path of the file.
        rows: Instances of a dataclass.
    """
    with publish(path) as temporary:
        text = "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)
        temporary.write_text(text, encoding="utf-8")


def read_json_lines(path: Path, kind: type[Row]) -> list[Row]:
    """Read dataclasses from JSON lines.

    Args:
        path: Path of the file.
        kind: Dataclass of the rows, with the configuration `LINE`.

    Raises:
        NeuronspecError: If the file is missing, or a line is no such row.
    """
    if not path.is_file():
        raise NeuronspecError(f"{path} does not exist; give the directory of a finished run, or one made by score")

    # Each line is checked by itself, so that the message can name it.
    adapter = TypeAdapter(kind)
    rows = []
    for number, line in enumerate(read_file(path, TEXT).splitlines(), 1):
        try:
            rows.append(adapter.validate_json(line))
        except ValidationError as error:
            raise NeuronspecError(f"{path}:{number} is damaged: {_describe_line(error)}") from error
    return rows


def _describe_line(error: ValidationError) -> str:
    """Return the first problem of a line in words."""
    found = error.errors(include_url=False, include_context=False)[0]
    place = escape(".".join(map(str, found["loc"])))

    # A line that is no JSON object has no place in it.
    if not place:
        return str(found["msg"])
    if found["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"'{place}' is missing"
    if found["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        upgrade = "if a newer version wrote it, pip install --upgrade neuronspec"
        return f"'{place}' is unknown to neuronspec {__version__}; {upgrade}"
    return f"{place} is {found['input']!r:.200}: {found['msg']}"
