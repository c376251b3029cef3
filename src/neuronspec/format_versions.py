"""Format versions: every file that is read back says in which format it is written, and by which version.

A format has a number, which rises when older versions could no longer read a file, or would read it wrongly. A reader
takes its own format and all older ones; a file of a newer format is refused with the version that can read it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from neuronspec.errors import NeuronspecError
from neuronspec.terminal import escape
from neuronspec.version import __version__

FORMAT_KEY: Final = "format_version"
VERSION_KEY: Final = "version"
FIRST: Final = 1  # the format of files that name none: nothing before 0.1 wrote the number

_RELEASE: Final = re.compile(r"\d{1,6}(\.\d{1,6}){0,3}((a|b|rc|\.dev|\.post)\d{1,6})*")


class NewerFormatError(NeuronspecError):
    """A file of a newer format: it is sound, and no reason to use an older one in its place."""


def add_format(values: Mapping[str, Any], number: int = FIRST) -> dict[str, Any]:
    """Return the values of a header or a JSON file, after the number of their format and the version that writes them.

    Args:
        values: Values by name.
        number: Number of the format.

    Example:
        >>> list(add_format({"tasks": ["de-en"]}))
        ['format_version', 'version', 'tasks']
    """
    return {FORMAT_KEY: number, VERSION_KEY: __version__, **values}


def remove_format(values: Any, where: object, number: int = FIRST) -> dict[str, Any]:
    """Return the values that `add_format` was given, if their format can be read.

    Args:
        values: Values of a header or a JSON file, which may come from anyone.
        where: File of the values, for the message.
        number: Number of the newest format that can be read.

    Raises:
        NeuronspecError: If there are no named values, or their format is a newer one; then the message names the
            version that can read it.
    """
    check_format(values, where, number)
    return {name: value for name, value in values.items() if name not in (FORMAT_KEY, VERSION_KEY)}


def check_format(values: Any, where: object, number: int = FIRST) -> None:
    """Refuse values in a format that this version cannot read; arguments and errors are those of `remove_format`."""
    if not isinstance(values, dict):
        raise NeuronspecError(f"{where} is damaged: it holds a {type(values).__name__}, not values by name")

    found = values.get(FORMAT_KEY, FIRST)
    if not isinstance(found, int) or isinstance(found, bool) or found < FIRST:
        raise NeuronspecError(f"{where} is damaged: its {FORMAT_KEY} is {escape(repr(found)):.40}, not a number from 1")

    if found > number:
        # The version that wrote a file reads it; what else is in its place goes into no command.
        writer = values.get(VERSION_KEY)
        known = isinstance(writer, str) and _RELEASE.fullmatch(writer)
        author, requirement = (f"neuronspec {writer}", f"neuronspec>={writer}") if known else ("a newer one", "")
        command = f"pip install '{requirement}'" if known else "pip install --upgrade neuronspec"
        raise NewerFormatError(
            f"{where} has format {found}, written by {author}; this is neuronspec {__version__}, which reads formats "
            f"up to {number}: {command}"
        )
