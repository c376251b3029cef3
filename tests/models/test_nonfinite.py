"""NaN and infinity are found in any tensor, and refused wherever a model comes in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from neuronspec.errors import NeuronspecError
from neuronspec.models.building import build_model
from neuronspec.models.loading import load_model, save_model
from neuronspec.models.nonfinite import check_finite, find_nonfinite, is_finite

SmallModel = Callable[..., PreTrainedModel]
STRANGE = [torch.nan, torch.inf, -torch.inf]
FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("value", STRANGE)
@pytest.mark.parametrize("dtype", [*FLOATS, torch.complex64])
def test_one_strange_number_anywhere_is_found(dtype: torch.dtype, value: float) -> None:
    for place in (0, 17, 99):
        tensor = torch.ones(10, 10, dtype=dtype)
        tensor.view(-1)[place] = value
        assert not is_finite(tensor)
        assert not is_finite(tensor.T[:, ::3]) or place % 3


def test_strange_numbers_of_either_sign_do_not_cancel() -> None:
    assert not is_finite(torch.tensor([torch.inf, -torch.inf, 1.0]))


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=20), st.sampled_from(FLOATS[:2]))
def test_finite_numbers_are_finite_however_large(numbers: list[float], dtype: torch.dtype) -> None:
    assert is_finite(torch.tensor(numbers, dtype=dtype))


@pytest.mark.parametrize(
    "tensor",
    [
        torch.full((1000,), 60_000.0, dtype=torch.float16),  # whose sum overflows
        torch.empty(0),
        torch.tensor(3),
        torch.tensor([True]),
        torch.ones(2, dtype=torch.float8_e4m3fn),
        torch.empty(3, device="meta"),
    ],
)
def test_what_is_no_strange_number_is_left_alone(tensor: torch.Tensor) -> None:
    assert is_finite(tensor)


def test_eight_bit_floats_are_looked_at_too() -> None:
    assert find_nonfinite([("scale", torch.tensor([1.0, torch.nan]).to(torch.float8_e4m3fn))]) == ["scale"]


def test_a_buffer_may_be_infinite_but_not_nan() -> None:
    module = nn.Linear(2, 2)
    module.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    check_finite(module)
    module.register_buffer("bias_of_logits", torch.tensor([0.0, torch.nan]))
    with pytest.raises(NeuronspecError, match="bias_of_logits holds 1 of 2"):
        check_finite(module)


@pytest.mark.parametrize("value", STRANGE)
def test_a_model_with_a_strange_weight_is_not_loaded(
    value: float, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = build_model("tiny", tokenizer)
    with torch.no_grad():
        model.base_model.decoder.layers[0].fc1.weight[3, :2] = value
    save_model(model, tmp_path, tokenizer)
    with pytest.raises(NeuronspecError, match=r"model\.decoder\.layers\.0\.fc1\.weight holds 2 of \d+ .*earlier check"):
        load_model(tmp_path)


def test_weights_that_overflowed_in_half_precision_are_not_loaded(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = build_model("tiny", tokenizer, embeddings="shared")
    with torch.no_grad():
        model.base_model.encoder.layers[0].fc2.bias[0] = 1e6
    model.half().save_pretrained(tmp_path)
    with pytest.raises(NeuronspecError, match=r"encoder\.layers\.0\.fc2\.bias holds 1 of"):
        load_model(tmp_path)
