"""Headers: what a file of tensors says about itself, as pydantic models whose types check sizes and texts.

A header may come from an untrusted file. It is read strictly: no text becomes a number, and no number becomes text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from neuronspec.names import check_layers, check_names
from neuronspec.terminal import escape

_EXPECTED: Final = "expected"  # the type of errors that are worded here


class Header(BaseModel):
    """Base of all headers. Keys that a later version adds are kept, not refused."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")


def worded(message: str, accepts: Callable[[Any], bool] = lambda value: True) -> WrapValidator:
    """Return a validator that refuses a value in our own words.

    Args:
        message: End of a sentence whose subject is the field: `are not a list of names`.
        accepts: Function that returns whether a value of the right type has the right content; by default any has.
    """

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        # Any of pydantic's errors becomes this message.
        try:
            checked = handler(value)
        except ValidationError:
            checked = None

        if checked is None or not accepts(checked):
            raise PydanticCustomError(_EXPECTED, "{message}", {"message": message})
        return checked

    return WrapValidator(validate)


def _are_different(names: list[Any]) -> bool:
    # Compared without hashes: the values of an untrusted file may have none.
    return bool(names) and all(names.count(name) == 1 for name in names)


def _are_positive(widths: dict[str, int]) -> bool:
    return all(width > 0 for width in widths.values())


Names = Annotated[list[str], worded("are not a list of names")]
"""Names of tasks; an empty list is left to the reader."""

UniqueNames = Annotated[list[str], worded("are not a list of different names", _are_different)]
"""Names of tasks, at least one, each once."""

LayerNames = Annotated[list[Any], worded("are not a list of different names", _are_different)]
"""Names of layers, at least one, each once."""

Widths = Annotated[dict[str, int], worded("are not positive whole numbers", _are_positive)]
"""Name of each layer -> its number of neurons."""

Signature = Annotated[dict[str, str], worded("is not a mapping to strings")]
"""What the content depends on, as strings."""


def check_header_names(header: BaseModel, where: object) -> None:
    """Refuse a header with a name that no task, set or layer can have; names become paths and are printed.

    Args:
        header: Header of any kind, with or without fields of names.
        where: File of the header, for the message.

    Raises:
        NeuronspecError: If there is such a name.
    """
    # A header need not have all of these fields; a missing one counts as empty.
    for field, kind in (("tasks", "task"), ("sets", "set")):
        check_names(getattr(header, field, ()), kind, where)
    for field in ("layers", "widths"):
        check_layers(getattr(header, field, ()), where)


def describe_problem(error: ValidationError) -> str:
    """Return the first problem of a header in words.

    Args:
        error: Problems that pydantic found.
    """
    # The place is a path of keys, which may come from an untrusted file.
    found = error.errors(include_url=False, include_context=False)[0]
    place = escape(".".join(map(str, found["loc"])))

    if found["type"] == "missing":
        return f"'{place}' is missing in its header"
    if found["type"] == _EXPECTED:
        return f"its {place} {found['msg']}"
    return f"{place} {found['msg']}".strip()
