from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel

import neuronspec
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import assign_tasks, dense, get_masks, specialize, task, unspecialize

SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., dict[str, torch.Tensor]]

TASKS = ("de-en", "en-fr", "sv-de")
MIXED = ["en-fr", "de-en", "sv-de", "en-fr"]  # the tasks of the four rows of `small_batch`
WIDTHS = {"encoder.0": 24, "encoder.1": 24, "decoder.0": 40, "decoder.1": 40}


def draw_masks(seed: int = 0) -> NeuronMasks:
    generator = torch.Generator().manual_seed(seed)
    return NeuronMasks(
        TASKS, {layer: torch.rand(3, width, generator=generator) > 0.5 for layer, width in WIDTHS.items()}
    )


@pytest.fixture
def masks() -> NeuronMasks:
    return draw_masks()


@pytest.fixture
def batch(small_batch: SmallBatch) -> dict[str, torch.Tensor]:
    return small_batch()


def expansion(model: PreTrainedModel, layer: str) -> torch.nn.Linear:
    module = model.get_submodule(f"model.{layer.replace('.', '.layers.')}.fc1")
    assert isinstance(module, torch.nn.Linear)
    return module


def zero_out(model: PreTrainedModel, masks: NeuronMasks, name: str) -> PreTrainedModel:
    """A copy whose rows of W1 and b1 are zero where the task masks: every activation function here maps 0 to 0."""
    zeroed = copy.deepcopy(model)
    with torch.no_grad():
        for layer in WIDTHS:
            off = ~masks.mask(name, layer)
            expansion(zeroed, layer).weight[off] = 0
            expansion(zeroed, layer).bias[off] = 0
    return zeroed


def logits(model: PreTrainedModel, batch: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(**batch, **options).logits[batch["decoder_attention_mask"].bool()]
    return found


def generate(model: PreTrainedModel, batch: dict[str, torch.Tensor], **options: Any) -> list[list[int]]:
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    ids: list[list[int]] = model.generate(**inputs, max_new_tokens=8, do_sample=False, **options).tolist()
    return ids


def trimmed(ids: list[int], padding: int = 1) -> list[int]:
    """A row's own tokens, without what longer rows of its batch made it padded with."""
    return ids[: len(ids) - next((n for n, number in enumerate(reversed(ids)) if number != padding), len(ids))]


def first_scores(model: PreTrainedModel, batch: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
    """The (rows, vocabulary) scores of each row's first generated token."""
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    output = model.generate(
        **inputs, max_new_tokens=2, do_sample=False, output_scores=True, return_dict_in_generate=True, **options
    )
    scores: torch.Tensor = output.scores[0]
    return scores[:: options.get("num_beams", 1)]


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=1e-12)


def test_a_masked_neuron_is_gone_with_its_bias(
    architecture: str, small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    plain = small_model(architecture)
    model = specialize(copy.deepcopy(plain), masks)
    for name in TASKS:
        expected = logits(zero_out(plain, masks, name), batch)
        assert close(logits(model, batch, tasks=[name] * 4), expected)
        assert not close(expected, logits(plain, batch))


def test_r4_a_row_of_a_mixed_batch_gets_what_a_batch_of_its_task_gets(
    architecture: str, small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(architecture), masks)
    with torch.no_grad():
        mixed = model(**batch, tasks=MIXED).logits
        for row, name in enumerate(MIXED):
            assert close(mixed[row], model(**batch, tasks=[name] * 4).logits[row])
            alone = {key: value[row : row + 1] for key, value in batch.items()}
            assert close(mixed[row], model(**alone, tasks=[name]).logits[0])
        numbers = torch.tensor([TASKS.index(name) for name in MIXED])
        assert close(mixed, model(**batch, tasks=numbers).logits)
    assert not close(mixed[0], model(**batch, tasks=["de-en"] * 4).logits[0])


@pytest.mark.parametrize("beams", [1, 3])
def test_r4_generation_is_that_of_a_model_without_the_neurons(
    architecture: str, small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks, beams: int
) -> None:
    plain = small_model(architecture)
    model = specialize(copy.deepcopy(plain), masks)
    found = generate(model, batch, tasks=MIXED, num_beams=beams)
    scores = first_scores(model, batch, tasks=MIXED, num_beams=beams)
    for row, name in enumerate(MIXED):
        zeroed = zero_out(plain, masks, name)
        assert trimmed(found[row]) == trimmed(generate(zeroed, batch, num_beams=beams)[row])
        assert close(scores[row], first_scores(zeroed, batch, num_beams=beams)[row])
    assert not close(scores, first_scores(plain, batch, num_beams=beams))


def test_several_sequences_for_a_row_keep_its_task(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    plain = small_model()
    model = specialize(copy.deepcopy(plain), masks)
    found = generate(model, batch, tasks=MIXED, num_beams=4, num_return_sequences=2)
    for row, name in enumerate(MIXED):
        zeroed = generate(zero_out(plain, masks, name), batch, num_beams=4, num_return_sequences=2)
        assert found[2 * row : 2 * row + 2] == zeroed[2 * row : 2 * row + 2]


def test_task_sets_the_task_of_every_row(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(), masks)
    expected = logits(model, batch, tasks=["sv-de"] * 4)
    sequences = generate(model, batch, tasks=["sv-de"] * 4)
    with task(model, "sv-de") as same:
        assert same is model
        assert close(logits(model, batch), expected)
        assert generate(model, batch) == sequences
    with pytest.raises(NeuronspecError, match="no masks for the task 'sv-dd'"), task(model, "sv-dd"):
        pass
    with pytest.raises(NeuronspecError, match="needs to know the task"):
        logits(model, batch)


def test_dense_switches_the_masks_off_for_a_while(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    plain = small_model()
    model = specialize(copy.deepcopy(plain), masks)
    with task(model, "de-en"):
        with dense(model):
            assert torch.equal(logits(model, batch), logits(plain, batch))
            assert generate(model, batch, num_beams=2) == generate(plain, batch, num_beams=2)
        assert close(logits(model, batch), logits(zero_out(plain, masks, "de-en"), batch))


def test_an_exception_ends_task_and_dense(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(), masks)
    for context in (task(model, "de-en"), dense(model)):
        with pytest.raises(KeyError), context:
            raise KeyError
        with pytest.raises(NeuronspecError, match="needs to know the task"):
            logits(model, batch)


def test_unspecialize_gives_the_model_back(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    plain = small_model()
    model = specialize(copy.deepcopy(plain), masks)
    assert get_masks(model) is masks
    assert unspecialize(model) is model
    assert get_masks(model) is None
    assert torch.equal(logits(model, batch), logits(plain, batch))
    assert generate(model, batch) == generate(plain, batch)
    assert model.__dict__.keys() == plain.__dict__.keys()
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert unspecialize(model) is model
    for context in (task(model, "de-en"), dense(model)):
        with pytest.raises(NeuronspecError, match=r"not specialised: call neuronspec\.specialize"), context:
            pass


def test_new_masks_replace_the_old(small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks) -> None:
    plain, other = small_model(), draw_masks(1)
    model = specialize(specialize(copy.deepcopy(plain), masks), other)
    assert get_masks(model) is other
    assert close(logits(model, batch, tasks=["de-en"] * 4), logits(zero_out(plain, other, "de-en"), batch))


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (None, r"needs to know the task of every row: pass tasks=\[...\]"),
        ([], "0 tasks were given for 4 rows"),
        (["de-en"], "1 tasks were given for 4 rows"),
        (["de-en", "en-fr"], "2 tasks were given for 4 rows"),
        (["de-en"] * 3, "3 tasks were given for 4 rows"),
        (["de-en"] * 8, "8 tasks were given for 4 rows"),
        ("de-en", "give a list, not 'de-en'"),
        (["de-en", "de-em", "en-fr", "en-fr"], r"no masks for the task 'de-em' \(did you mean 'de-en'"),
    ],
)
@pytest.mark.parametrize("how", ["forward", "generate", "beams"])
def test_tasks_that_do_not_fit_the_batch_are_refused(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks, tasks: Any, message: str, how: str
) -> None:
    model = specialize(small_model(), masks)
    logits(model, batch, tasks=MIXED)  # the tasks of an earlier batch do not count
    run: Any = logits if how == "forward" else functools.partial(generate, num_beams=1 if how == "generate" else 2)
    with pytest.raises(NeuronspecError, match=message):
        run(model, batch, tasks=tasks)
    expected = logits(specialize(small_model(), masks), batch, tasks=MIXED)
    assert torch.equal(logits(model, batch, tasks=MIXED), expected)  # and the refusal leaves nothing behind


def test_assigned_tasks_count_where_parts_are_called_one_by_one(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(), masks)
    assign_tasks(model, MIXED)
    with torch.no_grad():
        found = model.lm_head(model.base_model(**batch)[0])
        assert close(found, model(**batch, tasks=MIXED).logits)
    assign_tasks(small_model(), MIXED)  # nothing to assign


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ({"encoder.0": 24}, "the masks have the layers encoder.0; the model has encoder.0, encoder.1, decoder.0"),
        (WIDTHS | {"decoder.1": 41}, "the masks have 41 neurons in decoder.1, the model has 40"),
    ],
)
def test_masks_of_another_model_are_refused(small_model: SmallModel, widths: dict[str, int], message: str) -> None:
    model = small_model()
    with pytest.raises(NeuronspecError, match=message):
        specialize(model, NeuronMasks(["a-b"], {layer: torch.ones(1, width) for layer, width in widths.items()}))
    assert get_masks(model) is None
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_state_dict_is_that_of_the_plain_model(small_model: SmallModel, masks: NeuronMasks) -> None:
    plain = small_model()
    model = specialize(copy.deepcopy(plain), masks)
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in model.named_modules()] == [name for name, _ in plain.named_modules()]
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in plain.parameters())


def test_a_deep_copy_is_specialised_and_independent(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(), masks)
    expected, sequences = logits(model, batch, tasks=MIXED), generate(model, batch, tasks=MIXED, num_beams=2)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(logits(copied, batch, tasks=MIXED), expected)
    assert generate(copied, batch, tasks=MIXED, num_beams=2) == sequences
    with task(copied, "de-en"), pytest.raises(NeuronspecError, match="needs to know the task"):
        logits(model, batch)
    unspecialize(copied)
    assert get_masks(model) is not None
    assert not any(module._forward_pre_hooks for module in copied.modules())


def test_r9_no_gradient_reaches_neurons_that_the_batch_masks(
    architecture: str, small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(architecture), masks)
    here = ["de-en", "de-en", "sv-de", "de-en"]
    model(**batch, tasks=here).logits.logsumexp(-1).sum().backward()
    for layer in WIDTHS:
        on = masks.mask("de-en", layer) | masks.mask("sv-de", layer)
        first: Any = expansion(model, layer)
        second: Any = model.get_submodule(f"model.{layer.replace('.', '.layers.')}.fc2")
        for gradient in (first.weight.grad, first.bias.grad, second.weight.grad.T):
            assert (~on).any()
            assert (gradient[~on] == 0).all()
            assert gradient[on].abs().sum() > 0


def test_r9_each_row_sends_gradient_only_to_the_neurons_of_its_task(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(), masks)
    model(**batch, tasks=MIXED).logits[1].logsumexp(-1).sum().backward()  # row 1 is de-en
    for layer in WIDTHS:
        off = ~masks.mask("de-en", layer)
        first: Any = expansion(model, layer)
        assert (first.weight.grad[off] == 0).all()
        assert first.weight.grad[~off].abs().sum() > 0


def test_a_specialised_model_saves_as_an_ordinary_one(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks, tmp_path: Path
) -> None:
    plain = small_model().float()
    specialize(copy.deepcopy(plain), masks).save_pretrained(tmp_path)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    assert get_masks(loaded) is None
    assert torch.equal(logits(loaded, batch), logits(plain, batch))


def test_masks_follow_the_type_of_the_model(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(), masks)
    double = logits(model, batch, tasks=MIXED)
    single = logits(model.float(), batch, tasks=MIXED)
    assert (double.dtype, single.dtype) == (torch.float64, torch.float32)
    assert torch.allclose(double.float(), single, atol=1e-3)


def test_recording_sees_the_masked_neurons_as_inactive(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(), masks)
    with task(model, "de-en"):
        counts = neuronspec.record_activations(model, [batch | {"tasks": ["de-en"] * 4}])
    for layer in WIDTHS:
        on = masks.mask("de-en", layer)
        assert not counts.values[layer][0][~on].any()
        assert counts.values[layer][0][on].any()


def test_tasks_inside_task_are_refused_and_inside_dense_do_nothing(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    plain = small_model()
    model = specialize(copy.deepcopy(plain), masks)
    with task(model, "de-en"), pytest.raises(NeuronspecError, match="leave one out"):
        logits(model, batch, tasks=MIXED)
    with dense(model):
        assert torch.equal(logits(model, batch, tasks=MIXED), logits(plain, batch))


def test_task_numbers_outside_the_masks_are_refused(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(), masks)
    for wrong in (-1, len(masks.tasks)):
        with pytest.raises(NeuronspecError, match="task numbers must be from 0"):
            logits(model, batch, tasks=torch.tensor([0, 0, 0, wrong]))
