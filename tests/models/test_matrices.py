from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from neuronspec.models.matrices import (
    WeightMatrix,
    features_in,
    features_out,
    is_matrix,
    set_parameters,
    take_inputs,
    take_outputs,
    turn,
)

READS, WRITES = 5, 7
KEEP = torch.tensor([6, 0, 3])

Make = Callable[[], WeightMatrix]


def make_linear() -> WeightMatrix:
    return nn.Linear(READS, WRITES).double()


def make_linear_without_bias() -> WeightMatrix:
    return nn.Linear(READS, WRITES, bias=False).double()


def make_conv1d() -> WeightMatrix:
    matrix: WeightMatrix = Conv1D(WRITES, READS).double()
    nn.init.normal_(matrix.bias)
    return matrix


@pytest.fixture(params=[make_linear, make_linear_without_bias, make_conv1d])
def matrix(request: pytest.FixtureRequest) -> WeightMatrix:
    torch.manual_seed(0)
    made: WeightMatrix = request.param()
    return made


@pytest.fixture
def states() -> torch.Tensor:
    return torch.randn(2, 3, READS, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_knows_matrices_and_nothing_else(matrix: WeightMatrix) -> None:
    assert is_matrix(matrix)
    for module in (nn.Embedding(3, 4), nn.LayerNorm(4), nn.Conv1d(3, 4, 1), nn.Identity(), nn.Bilinear(2, 2, 2)):
        assert not is_matrix(module)


def test_features_are_those_that_are_read_and_written(matrix: WeightMatrix, states: torch.Tensor) -> None:
    assert (features_in(matrix), features_out(matrix)) == (READS, WRITES)
    assert matrix(states).shape == (2, 3, WRITES)


def test_a_turned_weight_is_that_of_a_linear(matrix: WeightMatrix, states: torch.Tensor) -> None:
    weight = turn(matrix, matrix.weight)
    assert weight.shape == (WRITES, READS)
    torch.testing.assert_close(nn.functional.linear(states, weight, matrix.bias), matrix(states), rtol=0, atol=1e-12)
    assert torch.equal(turn(matrix, weight), matrix.weight)  # there and back


def test_some_outputs_are_those_of_the_whole_matrix(matrix: WeightMatrix, states: torch.Tensor) -> None:
    weight, bias = take_outputs(matrix, KEEP)
    assert weight.shape == (3, READS)
    assert (bias is None) == (matrix.bias is None)
    found = nn.functional.linear(states, weight, bias)
    torch.testing.assert_close(found, matrix(states)[..., KEEP], rtol=0, atol=1e-12)


def test_some_inputs_give_what_the_whole_matrix_gives_where_the_others_are_0(matrix: WeightMatrix) -> None:
    keep = torch.tensor([4, 1])
    few = torch.randn(3, 2, dtype=torch.float64)
    whole = torch.zeros(3, READS, dtype=torch.float64)
    whole[:, keep] = few
    weight = take_inputs(matrix, keep)
    assert weight.shape == (WRITES, 2)
    torch.testing.assert_close(nn.functional.linear(few, weight, matrix.bias), matrix(whole), rtol=0, atol=1e-12)


def test_none_can_be_taken(matrix: WeightMatrix) -> None:
    nothing = torch.tensor([], dtype=torch.long)
    weight, bias = take_outputs(matrix, nothing)
    assert weight.shape == (0, READS)
    assert bias is None or bias.shape == (0,)
    assert take_inputs(matrix, nothing).shape == (WRITES, 0)


def test_gradients_flow_back_to_what_was_taken_alone(matrix: WeightMatrix, states: torch.Tensor) -> None:
    weight, bias = take_outputs(matrix, KEEP)
    torch.autograd.backward(nn.functional.linear(states, weight, bias).sum())
    assert matrix.weight.grad is not None
    touched = turn(matrix, matrix.weight.grad).ne(0).any(1)
    assert touched.nonzero()[:, 0].tolist() == sorted(KEEP.tolist())
    if matrix.bias is not None:
        assert matrix.bias.grad is not None
        assert matrix.bias.grad.nonzero()[:, 0].tolist() == sorted(KEEP.tolist())
    matrix.zero_grad()
    torch.autograd.backward(take_inputs(matrix, torch.tensor([2])).sum())
    assert turn(matrix, matrix.weight.grad).ne(0).any(0).nonzero()[:, 0].tolist() == [2]


@pytest.mark.parametrize(("reads", "writes"), [(2, 3), (9, 1), (READS, WRITES)])
def test_other_parameters_make_it_another_matrix(matrix: WeightMatrix, reads: int, writes: int) -> None:
    weight = torch.randn(writes, reads, dtype=torch.float64)
    bias = None if matrix.bias is None else torch.randn(writes, dtype=torch.float64)
    set_parameters(matrix, weight, bias)
    assert (features_in(matrix), features_out(matrix)) == (reads, writes)
    states = torch.randn(4, reads, dtype=torch.float64)
    torch.testing.assert_close(matrix(states), nn.functional.linear(states, weight, bias), rtol=0, atol=1e-12)
    assert matrix.weight.is_contiguous()  # or it could not be saved
    assert f"={reads}" in repr(matrix)
    assert f"={writes}" in repr(matrix)
    before = weight.clone()
    with torch.no_grad():
        for parameter in matrix.parameters():
            parameter.zero_()
    assert torch.equal(weight, before), "what was given is shared with the matrix"


def test_a_frozen_matrix_stays_frozen(matrix: WeightMatrix) -> None:
    weight, bias = take_outputs(matrix, KEEP)
    for frozen in (True, False):
        matrix.requires_grad_(not frozen)
        set_parameters(matrix, weight, bias)
        assert all(parameter.requires_grad != frozen for parameter in matrix.parameters())


def test_without_a_bias_the_old_one_stays() -> None:
    for make in (make_linear, make_conv1d):
        matrix = make()
        bias = matrix.bias
        set_parameters(matrix, torch.zeros(WRITES, 2, dtype=torch.float64), None)
        assert matrix.bias is bias
        assert torch.equal(matrix(torch.ones(1, 2, dtype=torch.float64))[0], bias)


def test_a_matrix_set_to_what_was_taken_is_the_smaller_matrix(matrix: WeightMatrix, states: torch.Tensor) -> None:
    whole = matrix(states).detach()
    weight, bias = take_outputs(matrix, KEEP)
    set_parameters(matrix, weight, bias)
    torch.testing.assert_close(matrix(states), whole[..., KEEP], rtol=0, atol=1e-12)
    assert matrix.weight.is_leaf
