"""Values of the page: numbers packed as text, and JSON that is safe in HTML."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from neuronspec.comparison.tables import Table
from neuronspec.errors import NeuronspecError

PACKED_STEPS = 65535  # of a packed value: IoU is kept to 1.5e-5


def pack_fractions(values: ArrayLike) -> str:
    """Return numbers in 0..1 as text: base64 of little-endian 16-bit steps of 1/65535.

    Args:
        values: (n,) such as the IoU of every pair.

    Raises:
        NeuronspecError: If a value is outside 0..1 or not a number.

    Example:
        >>> pack_fractions([0, 1])
        'AAD//w=='
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not np.all((numbers >= 0) & (numbers <= 1)):  # nan fails too
        raise NeuronspecError(f"found values {numbers.min()} to {numbers.max()} to pack_fractions, expected 0..1")

    # Half as long as 32-bit floats, and exact enough for colors and two decimals
    return base64.b64encode(np.rint(numbers * PACKED_STEPS).astype("<u2").tobytes()).decode("ascii")


def unpack_fractions(text: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the numbers that `pack_fractions` made into text, to within half a step.

    Example:
        >>> unpack_fractions(pack_fractions([0.25])).round(4).tolist()
        [0.25]
    """
    return np.frombuffer(base64.b64decode(text), dtype="<u2") / PACKED_STEPS


def pack_floats(values: ArrayLike) -> str:
    """Return any numbers as text: base64 of little-endian 32-bit floats; nan for what is unknown.

    Example:
        >>> pack_floats([1.5])
        'AADAPw=='
    """
    return base64.b64encode(np.asarray(values, dtype="<f4").tobytes()).decode("ascii")


def escape_json(value: Any) -> str:
    """Return a value as JSON that can stand in an HTML script element, whatever its texts hold.

    Example:
        >>> print(escape_json({"name": "</script>"}))
        {"name":"\\u003c/script\\u003e"}
    """
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))  # ASCII: U+2028 and surrogates, too
    except (TypeError, ValueError) as error:
        raise NeuronspecError(f"a part of the report cannot be written as JSON: {error}") from error

    # Escaped, they mean the same to JSON, but HTML cannot find an end of the script in them
    return text.translate({ord(character): f"\\u{ord(character):04x}" for character in "<>&"})


def to_json_values(value: Any) -> Any:
    """Return a value with plain JSON types: arrays and tuples as lists, NaN as None."""
    # From the most special to plain values; each part is converted in turn
    if isinstance(value, Table):
        return to_json_values(_describe_table(value))
    if isinstance(value, Mapping):
        return {str(key): to_json_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_values(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return to_json_values(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _describe_table(table: Table) -> dict[str, Any]:
    """Return a table as a mapping; every row has its section, if there are any."""
    # Rows can be sorted on the page, so each keeps its section
    rows, sections = [], []
    for section, block in table.blocks:
        for row in block:
            rows.append([_describe_cell(cell) for cell in row])
            sections.append(section)

    return {
        "title": table.title,
        "header": table.titles,
        "rows": rows,
        "notes": table.notes,
        "sections": sections if table.sections else [],
    }


def _describe_cell(cell: Any) -> dict[str, Any]:
    return {"value": cell.content, "text": str(cell), "bold": cell.bold}
