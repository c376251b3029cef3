"""JSON files of our own that are read back as pydantic models: whatever is damaged in them is named in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from neuronspec.errors import NeuronspecError
from neuronspec.files import read_json
from neuronspec.format_versions import remove_format
from neuronspec.terminal import escape


class Stored(BaseModel):
    """Base of what a JSON file holds; keys that a later version adds are left out."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


StoredType = TypeVar("StoredType", bound=Stored)


def read_typed(path: Path, kind: type[StoredType], remedy: str) -> StoredType:
    """Read a JSON file that holds the values of a model.

    Args:
        path: Path of the file.
        kind: Model of its content.
        remedy: Advice for a damaged file: `run prepare again with --force`.

    Raises:
        NeuronspecError: If the file is missing, damaged, or of a newer format.
    """
    return check_typed(remove_format(read_json(path), path), kind, path, remedy)


def check_typed(values: Any, kind: type[StoredType], path: Path, remedy: str) -> StoredType:
    """Return values as a model; arguments and errors are those of `read_typed`.

    Args:
        values: JSON value.
        kind: Model of its content.
        path: Path of the file that it comes from.
        remedy: Advice for a damaged file.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = escape(".".join(map(str, found["loc"]))) or "its content"
        message = str(found["msg"]).removeprefix("Value error, ")
        raise NeuronspecError(f"{path} is damaged: {place:.200}: {message:.300}; {remedy}") from error
