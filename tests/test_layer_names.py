"""Names of layers are read in one place."""

from __future__ import annotations

import pytest

from neuronspec.errors import NeuronspecError
from neuronspec.layer_names import STACKS, index_of, is_expert, place_of, stack_of


@pytest.mark.parametrize(
    ("layer", "stack", "index", "expert"),
    [
        ("encoder.0", "encoder", 0, False),
        ("decoder.11", "decoder", 11, False),
        ("encoder.3.expert.7", "encoder", 3, True),
        ("decoder.3.expert.shared", "decoder", 3, False),
    ],
)
def test_a_name_says_stack_and_index(layer: str, stack: str, index: int, expert: bool) -> None:
    assert (stack_of(layer), index_of(layer), is_expert(layer)) == (stack, index, expert)
    assert place_of(layer) == (STACKS.index(stack_of(layer)), index)


@pytest.mark.parametrize("name", ["", "encoder", "encoder.", "encoder.x", "middle.0", "encoder.1.expert.2.expert.3"])
def test_anything_else_has_no_index(name: str) -> None:
    with pytest.raises(NeuronspecError, match="expected a name such as"):
        index_of(name)
