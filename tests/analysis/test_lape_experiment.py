"""LAPE's matrix agrees with a plain computation, whatever the batches, and its bookkeeping is exact."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from neuronspec.analysis.lape_experiment import LapeOptions, measure_lape
from neuronspec.analysis.perplexity_matrix import PerplexityMatrix
from neuronspec.errors import NeuronspecError
from neuronspec.figures.ablation_matrix import draw_perplexities
from neuronspec.report.perplexity_tables import describe_perplexities, tabulate_perplexities
from neuronspec.specialization.routing import find_router

SmallModel = Callable[..., PreTrainedModel]
OPTIONS: dict[str, Any] = {"share": 0.3, "bar": 0.6, "sentences": 4, "draws": 2}
# The name of the first matrix in each architecture, whose outputs are the activations before the nonlinearity
FIRST = {"llama": "gate_proj", "gpt2": "c_fc", "opt": "fc1"}
CHANGES = {"llama": {"mlp_bias": True}}


def make_lines() -> dict[str, list[str]]:
    draw = random.Random(0)
    letters = {"de": "abcdefgh", "fr": "ijklmnop", "sv": "aeimopcg"}
    return {
        task: ["".join(draw.choices(f"{some} ", k=draw.randint(3, 60))).strip() or some for _ in range(11)]
        for task, some in letters.items()
    }


def first_matrices(model: PreTrainedModel, architecture: str) -> list[torch.nn.Module]:
    return [module for name, module in model.named_modules() if name.endswith(FIRST[architecture])]


def plain_perplexity(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, lines: Sequence[str]) -> float:
    """Plain transformers: one line at a time, its loss as the model itself computes it."""
    total, tokens = 0.0, 0
    for line in lines:
        ids = torch.tensor([tokenizer(line)["input_ids"]])
        if ids.shape[1] > 1:
            total += model(input_ids=ids, labels=ids).loss.item() * (ids.shape[1] - 1)
            tokens += ids.shape[1] - 1
    return math.exp(total / tokens)


def plain_selection(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, architecture: str, lines: dict[str, list[str]]
) -> torch.Tensor:
    """LAPE as its paper describes it: (tasks, layers * d_ff)."""
    probabilities = []
    for task in lines:
        seen: list[torch.Tensor] = []
        hooks = [
            module.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out.reshape(-1, out.shape[-1]) > 0))
            for module in first_matrices(model, architecture)
        ]
        for line in lines[task]:
            model(input_ids=torch.tensor([tokenizer(line)["input_ids"]]))
        for hook in hooks:
            hook.remove()
        layers = [torch.cat(seen[layer :: len(hooks)]).double().mean(0) for layer in range(len(hooks))]
        probabilities.append(torch.cat(layers))
    p = torch.stack(probabilities)
    limit = torch.quantile(p.flatten(), OPTIONS["bar"], interpolation="lower")
    q = p / p.sum(0).clamp(min=1e-300)
    entropy = torch.where(q > 0, -q * q.clamp(min=1e-300).log(), 0).sum(0)
    entropy[~(p > limit).any(0)] = math.inf
    lowest = entropy.sort(stable=True).indices[: round(OPTIONS["share"] * p.shape[1])]
    chosen = torch.zeros(p.shape[1], dtype=torch.bool).index_fill(0, lowest, True)
    return (p > limit) & chosen & entropy.isfinite()


@pytest.mark.parametrize("architecture", FIRST)
def test_it_is_what_a_plain_computation_finds(
    architecture: str, small_model: SmallModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = small_model(architecture, vocab_size=len(tokenizer), **CHANGES.get(architecture, {}))
    lines = make_lines()
    matrix = measure_lape(model, tokenizer, lines, LapeOptions(**OPTIONS))
    assert find_router(model) is None

    selected = plain_selection(model, tokenizer, architecture, {task: text[4:] for task, text in lines.items()})
    found = torch.cat([matrix.masks.layer(layer) for layer in matrix.masks.layers], dim=1)
    assert torch.equal(found, selected)
    assert list(matrix.neurons.values()) == selected.sum(1).tolist()
    assert min(matrix.neurons.values()) > 0

    # Rows of the first matrix and of its bias set to zero by hand
    expected = [[plain_perplexity(model, tokenizer, text[:4]) for text in lines.values()]]
    for off in selected:
        masked = copy.deepcopy(model)
        for module, rows in zip(first_matrices(masked, architecture), off.chunk(2), strict=True):
            weight: Any = module.weight
            (weight.data.T if architecture == "gpt2" else weight.data)[rows] = 0
            module.bias.data[rows] = 0  # type: ignore[operator]
        expected.append([plain_perplexity(masked, tokenizer, text[:4]) for text in lines.values()])
    assert matrix.perplexities[:-1] == pytest.approx(np.array(expected), rel=1e-5)
    assert matrix.increases[:-1] == pytest.approx(np.array(expected[1:]) - expected[0], abs=1e-5 * np.max(expected))


@pytest.fixture(scope="module")
def model(small_model: SmallModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    return small_model("llama", vocab_size=len(tokenizer))


@pytest.fixture(scope="module")
def matrix(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> PerplexityMatrix:
    return measure_lape(model, tokenizer, make_lines(), LapeOptions(**OPTIONS))


@pytest.mark.parametrize("tokens_per_batch", [8, 64])
def test_batches_do_not_matter(
    tokens_per_batch: int, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, matrix: PerplexityMatrix
) -> None:
    options = LapeOptions(**OPTIONS, tokens_per_batch=tokens_per_batch)
    other = measure_lape(model, tokenizer, make_lines(), options)
    assert other.tokens == matrix.tokens
    assert other.perplexities == pytest.approx(matrix.perplexities, rel=1e-9)
    assert all(torch.equal(other.masks.layer(layer), matrix.masks.layer(layer)) for layer in matrix.masks.layers)


def test_tokens_are_those_after_the_first_of_the_measured_lines(
    matrix: PerplexityMatrix, tokenizer: PreTrainedTokenizerFast
) -> None:
    for task, lines in make_lines().items():
        assert matrix.tokens[task] == sum(len(tokenizer(line)["input_ids"]) - 1 for line in lines[:4])


def test_long_lines_are_cut_to_the_positions(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    lines = make_lines()
    lines["de"][0] = "abc " * 200
    matrix = measure_lape(model, tokenizer, lines, LapeOptions(**OPTIONS))
    rest = sum(len(tokenizer(line)["input_ids"]) - 1 for line in lines["de"][1:4])
    assert matrix.tokens["de"] == rest + 63  # of 64 positions


def test_the_random_control_is_as_large_and_never_the_own(matrix: PerplexityMatrix) -> None:
    assert matrix.random.shape == (2, 3)
    assert not np.allclose(matrix.random, matrix.baseline)
    assert not np.allclose(matrix.random, matrix.values.diagonal())
    assert matrix.perplexities[-1] == pytest.approx(np.exp(matrix.random).mean(0))


def test_tables_and_sentence_show_the_matrix(matrix: PerplexityMatrix) -> None:
    tables = tabulate_perplexities(matrix)
    assert [str(row[0].value) for row in tables["perplexity"].rows] == ["nothing", "de", "fr", "sv", "random"]
    shown = [[cell.value for cell in row[2:]] for row in tables["increase_percent"].rows]
    assert np.array(shown, dtype=float) == pytest.approx(matrix.percentages)
    bold = [[cell.bold for cell in row[2:]] for row in tables["increase"].rows]
    assert bold == [*np.eye(3, dtype=bool).tolist(), [False] * 3]
    test = matrix.test()
    assert f"for {test.strongest} of 3 texts" in describe_perplexities(matrix)
    assert test.own == pytest.approx((matrix.values - matrix.baseline).diagonal().mean())
    found = matrix.as_dict()
    assert found["increase"]["off"]["fr"]["de"] == pytest.approx(matrix.increases[1, 0])
    assert sum(found["layers"][layer]["sv"] for layer in found["layers"]) == matrix.neurons["sv"]


def test_directions_of_an_encoder_decoder_are_tasks_as_well(
    small_model: SmallModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = small_model("m2m_100", vocab_size=len(tokenizer), tie_word_embeddings=False)
    lines = make_lines()
    pairs = {f"{task}-en": list(zip(lines[task], lines["fr"], strict=True)) for task in ("de", "sv")}
    matrix = measure_lape(model, tokenizer, pairs, LapeOptions(**OPTIONS | {"share": 0.1}))
    assert {layer.partition(".")[0] for layer in matrix.masks.layers} == {"encoder", "decoder"}
    assert "all tokens of the target" in tabulate_perplexities(matrix)["perplexity"].notes[0]
    assert not np.allclose(matrix.percentages[:2], 0)


def test_what_cannot_be_measured_is_refused(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    lines = make_lines()
    with pytest.raises(NeuronspecError, match="found text of de, expected two tasks or more"):
        measure_lape(model, tokenizer, {"de": lines["de"]})
    with pytest.raises(NeuronspecError, match="found 1 texts of fr, expected a list of two or more"):
        measure_lape(model, tokenizer, lines | {"fr": ["one line"]})
    broken = copy.deepcopy(model)
    broken.get_output_embeddings().weight.data *= 1e6
    with pytest.raises(NeuronspecError, match=r"the loss of de with every neuron is .* no finite perplexity"):
        measure_lape(broken, tokenizer, lines, LapeOptions(**OPTIONS))


def test_a_matrix_of_another_shape_is_not_drawn(tmp_path: Any) -> None:
    with pytest.raises(NeuronspecError, match=r"shape \(1, 2\) for 2 sets of neurons .* and 2 texts"):
        draw_perplexities([[1.0, 2.0]], ["de", "fr"], ["de", "fr"], tmp_path / "figure")
