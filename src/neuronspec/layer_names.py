"""Names of FFN layers, such as `encoder.0` and `decoder.3.expert.1`: the stack, the index and the order."""

from __future__ import annotations

from typing import Final, Literal

from neuronspec.errors import NeuronspecError

Stack = Literal["encoder", "decoder"]

STACKS: Final[tuple[Stack, ...]] = ("encoder", "decoder")  # in the order of the data
EXPERT: Final = ".expert."
SHARED: Final = "shared"  # in place of an expert's number: the one that every token is sent to


def stack_of(layer: str) -> Stack:
    """Return the stack of a layer.

    Args:
        layer: Name of the layer.

    Raises:
        NeuronspecError: If this is no name of a layer.

    Example:
        >>> stack_of("decoder.3.expert.1")
        'decoder'
    """
    return STACKS[place_of(layer)[0]]


def index_of(layer: str) -> int:
    """Return the index of a layer in its stack; all experts of a layer have the index of the layer.

    Args:
        layer: Name of the layer.

    Raises:
        NeuronspecError: If this is no name of a layer.

    Example:
        >>> index_of("decoder.3.expert.1")
        3
    """
    return place_of(layer)[1]


def place_of(layer: str) -> tuple[int, int]:
    """Return the place of a layer in the order of the data, to sort by: encoder before decoder, then by index.

    Args:
        layer: Name of the layer.

    Returns:
        The number of the stack in `STACKS`, and the index of the layer in its stack.

    Raises:
        NeuronspecError: If this is no name of a layer.

    Example:
        >>> sorted(["decoder.0", "encoder.10", "encoder.2"], key=place_of)
        ['encoder.2', 'encoder.10', 'decoder.0']
    """
    # The stack, the index and, for an expert, its number.
    stack, _, rest = layer.partition(".")
    index, *expert = rest.split(EXPERT)

    if stack not in STACKS or not index.isdecimal() or len(expert) > 1:
        raise NeuronspecError(f"found the layer {layer!r}, expected a name such as 'encoder.0' or 'decoder.5'")

    # An expert has the place of its layer.
    return STACKS.index(stack), int(index)


def is_expert(layer: str) -> bool:
    """Return whether a layer is one expert of a layer of experts, to which some tokens are sent only.

    Example:
        >>> is_expert("encoder.3.expert.0"), is_expert("encoder.3")
        (True, False)
    """
    return EXPERT in layer and not layer.endswith(SHARED)
