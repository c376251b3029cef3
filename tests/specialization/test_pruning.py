"""Pruned models: smaller, dense, and the same as the masked model for their task."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

import neuronspec
from neuronspec.errors import NeuronspecError
from neuronspec.models.loading import SHAPES
from neuronspec.models.matrices import features_out
from neuronspec.neurons.layers import FFNLayer, find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import get_masks, specialize
from neuronspec.specialization.pruning import Widths, prune
from neuronspec.specialization.routing import task

SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., dict[str, torch.Tensor]]

TASKS = ("de-en", "en-fr")

pytestmark = pytest.mark.filterwarnings("ignore:this version of transformers sends the tokens of NLLB-MoE")


def draw_masks(model: PreTrainedModel, seed: int = 0, share: float = 0.5) -> NeuronMasks:
    generator = torch.Generator().manual_seed(seed)
    widths = {layer.name: layer.width for layer in find_ffn_layers(model)}
    return NeuronMasks(
        TASKS, {name: torch.rand(2, width, generator=generator) < share for name, width in widths.items()}
    )


def even_masks(model: PreTrainedModel, sizes: Mapping[str, int]) -> NeuronMasks:
    """Masks of as many neurons as their stack's name says, other ones in each layer."""
    generator = torch.Generator().manual_seed(0)
    values = {}
    for layer in find_ffn_layers(model):
        ranks = torch.rand(2, layer.width, generator=generator).argsort(1).argsort(1)
        values[layer.name] = ranks < sizes[layer.stack]
    return NeuronMasks(TASKS, values)


def inputs_of(model: PreTrainedModel, small_batch: SmallBatch) -> dict[str, torch.Tensor]:
    return {
        name: value
        for name, value in small_batch().items()
        if model.config.is_encoder_decoder or not name.startswith("decoder_")
    }


def logits(model: PreTrainedModel, batch: dict[str, torch.Tensor], **options: Any) -> Any:
    real = batch.get("decoder_attention_mask", batch["attention_mask"]).bool()
    found = model(**batch, use_cache=False, **options).logits * real[..., None]
    return found


def masked_logits(model: PreTrainedModel, masks: NeuronMasks, batch: dict[str, torch.Tensor]) -> Any:
    with torch.no_grad():
        return logits(specialize(copy.deepcopy(model), masks), batch, tasks=["de-en"] * 4)


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    one, other = one.detach().double(), other.detach().double()
    largest = float(other.nan_to_num().abs().max())
    return torch.allclose(one, other, rtol=1e-4, atol=1e-4 * max(1.0, largest), equal_nan=True)


def nearly_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """As `close`, to the precision of float64 where that is what they are in."""
    if one.dtype != torch.float64:
        return close(one, other)
    largest = float(other.detach().nan_to_num().abs().max())
    return torch.allclose(one, other, rtol=1e-9, atol=1e-9 * max(1.0, largest), equal_nan=True)


def widths_of(model: PreTrainedModel) -> dict[str, int]:
    return {layer.name: layer.width for layer in find_ffn_layers(model)}


def plain_loader(model: PreTrainedModel) -> Any:
    return AutoModelForSeq2SeqLM if model.config.is_encoder_decoder else AutoModelForCausalLM


def state_of(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same_state(model: PreTrainedModel, state: Mapping[str, torch.Tensor]) -> bool:
    now = model.state_dict()
    return list(now) == list(state) and all(torch.equal(now[name], tensor) for name, tensor in state.items())


def neuron_slices(layer: FFNLayer, gradient: bool = True) -> list[torch.Tensor]:
    """What belongs to a layer's neurons, each with the neurons in its first dimension; two parts of a fused matrix."""
    found: list[torch.Tensor] = []
    for matrix in layer.expansions:
        for parameter in (matrix.weight, matrix.bias):
            if parameter is not None:
                value = parameter.grad if gradient else parameter.detach()
                assert value is not None
                value = value.T if parameter is matrix.weight and isinstance(matrix, Conv1D) else value
                found += torch.split(value, layer.width)
    value = layer.projection.weight.grad if gradient else layer.projection.weight.detach()
    assert value is not None
    return [*found, value if isinstance(layer.projection, Conv1D) else value.T]


@pytest.mark.parametrize("widths", ["own", "stack"])
def test_a_pruned_model_is_the_masked_one_in_every_architecture(
    any_architecture: str, small_model: SmallModel, small_batch: SmallBatch, widths: Widths, tmp_path: Path
) -> None:
    """Outputs, gradients of what is left, generated tokens, saved and loaded; the original stays as it was."""
    model = small_model(any_architecture)
    masks, batch = draw_masks(model), inputs_of(model, small_batch)
    if any_architecture == "bloom" and widths == "stack":
        with pytest.raises(NeuronspecError, match=r"no key for d_ff is known in a 'bloom'.*prune with widths='own'"):
            prune(model, masks, "de-en", widths=widths)
        return
    state, configuration = state_of(model), model.config.to_dict()
    pruned = prune(model, masks, "de-en", widths=widths)
    assert same_state(model, state)
    assert model.config.to_dict() == configuration
    assert (type(pruned), pruned.training, get_masks(pruned)) == (type(model), False, None)
    kept = {layer: int(masks.mask("de-en", layer).sum()) for layer in masks.layers}
    if widths == "own":
        assert widths_of(pruned) == kept
    else:
        assert all(width >= kept[layer] for layer, width in widths_of(pruned).items())
        assert len(set(widths_of(pruned).values())) <= 2
    assert sum(p.numel() for p in pruned.parameters()) < sum(p.numel() for p in model.parameters())

    masked = specialize(copy.deepcopy(model), masks)
    expected, found = logits(masked, batch, tasks=["de-en"] * 4), logits(pruned, batch)
    assert nearly_equal(found, expected)
    for output in (expected, found):
        output.logsumexp(-1).sum().backward()
    ffn: set[torch.Tensor] = {
        parameter for layer in find_ffn_layers(masked) for m in layer.expansions for parameter in m.parameters()
    }
    ffn |= {layer.projection.weight for layer in find_ffn_layers(masked)}
    for (name, wide), narrow in zip(masked.named_parameters(), pruned.parameters(), strict=True):
        if wide not in ffn:
            assert (wide.grad is None) == (narrow.grad is None)
            assert wide.grad is None or (narrow.grad is not None and close(narrow.grad, wide.grad)), name
    for one_layer, layer in zip(find_ffn_layers(masked), find_ffn_layers(pruned), strict=True):
        if layer.projection.weight.grad is None:
            continue  # an expert without tokens
        on = masks.mask("de-en", layer.name)
        for full, part in zip(neuron_slices(one_layer), neuron_slices(layer), strict=True):
            assert close(part[: int(on.sum())], full[on])
            assert not part[int(on.sum()) :].any()  # what fills up stays zero in training too

    encodes = model.config.is_encoder_decoder
    inputs = {name: value if encodes else value.flip(1) for name, value in batch.items() if "decoder" not in name}
    options = {"num_beams": 2, "max_new_tokens": 4, "do_sample": False, "return_dict_in_generate": True}
    one = masked.generate(**inputs, **options, output_scores=True, tasks=["de-en"] * 4)
    other = pruned.generate(**inputs, **options, output_scores=True)
    assert torch.equal(other.sequences, one.sequences)
    assert nearly_equal(other.sequences_scores, one.sequences_scores)

    pruned.save_pretrained(tmp_path)
    saved = pruned.state_dict()
    loaded = neuronspec.load_model(tmp_path).to(model.dtype)
    assert widths_of(loaded) == widths_of(pruned)
    assert all(close(tensor, saved[name]) for name, tensor in loaded.state_dict().items())
    if widths == "stack":
        plain = plain_loader(model).from_pretrained(tmp_path, dtype=model.dtype)
        assert same_state(plain, saved)
        assert not getattr(plain.config, SHAPES, None)
    else:
        with pytest.raises((RuntimeError, ValueError), match=r"(?i)mismatch|shape|size"):
            plain_loader(model).from_pretrained(tmp_path)


def test_filling_up_adds_neurons_of_zeros_only(any_architecture: str, small_model: SmallModel) -> None:
    model = small_model(any_architecture)
    if any_architecture == "bloom":
        pytest.skip("its configuration has no key for d_ff")
    masks = draw_masks(model)
    own, stack = (find_ffn_layers(prune(model, masks, "de-en", widths=w)) for w in ("own", "stack"))
    for one, layer in zip(own, stack, strict=True):
        for narrow, wide in zip(neuron_slices(one, gradient=False), neuron_slices(layer, gradient=False), strict=True):
            assert torch.equal(wide[: one.width], narrow)
            assert not wide[one.width :].any()


def test_released_masks_fold_the_bias_in_every_architecture(
    any_architecture: str, small_model: SmallModel, small_batch: SmallBatch, tmp_path: Path
) -> None:
    model = small_model(any_architecture)
    masks, batch = draw_masks(model).keep_bias(), inputs_of(model, small_batch)
    state = state_of(model)
    expected = masked_logits(model, masks, batch)
    with torch.no_grad():
        for widths in ("own", "stack") if any_architecture != "bloom" else ("own",):
            pruned = prune(model, masks, "de-en", widths=widths)
            assert nearly_equal(logits(pruned, batch), expected)
        assert same_state(model, state)
        pruned = prune(specialize(model, masks), masks, "de-en")
        assert nearly_equal(logits(pruned, batch), expected)
        pruned.save_pretrained(tmp_path)
        saved = pruned.state_dict()
        loaded = neuronspec.load_model(tmp_path).state_dict()
        assert all(close(tensor, saved[name]) for name, tensor in loaded.items())


def test_the_biases_of_experts_that_got_no_token_cannot_be_folded(small_model: SmallModel) -> None:
    model = small_model("nllb-moe", num_experts=4)
    with pytest.raises(NeuronspecError, match=r"cannot fold the biases of experts into .*: prune masks that mask the"):
        prune(model, draw_masks(model).keep_bias(), "de-en")


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("widths", ["own", "stack"])
@pytest.mark.parametrize("architecture", ["m2m_100", "t5", "mt5", "gpt2", "phi3", "bloom"])
def test_no_neurons_and_all_neurons(
    small_model: SmallModel, small_batch: SmallBatch, architecture: str, widths: Widths, share: float, tmp_path: Path
) -> None:
    if architecture == "bloom" and widths == "stack":
        pytest.skip("its configuration has no key for d_ff")
    model = small_model(architecture).float()
    masks, batch = draw_masks(model, share=share), inputs_of(model, small_batch)
    pruned = prune(model, masks, "de-en", widths=widths)
    full = widths_of(model)
    if share == 1:
        assert widths_of(pruned) == full
    else:
        assert set(widths_of(pruned).values()) <= {0, 1}
    with torch.no_grad():
        expected = masked_logits(model, masks, batch)
        assert nearly_equal(logits(pruned, batch), expected)
        if share == 1:
            assert nearly_equal(logits(pruned, batch), logits(model, batch))
        pruned.save_pretrained(tmp_path)
        loaded = neuronspec.load_model(tmp_path)
        assert widths_of(loaded) == widths_of(pruned)
        assert same_state(loaded, pruned.state_dict())


@pytest.mark.parametrize(
    ("architecture", "sizes", "expected"),
    [
        ("m2m_100", {"encoder": 10, "decoder": 17}, {"encoder_ffn_dim": 10, "decoder_ffn_dim": 17}),
        ("t5", {"encoder": 11, "decoder": 11}, {"d_ff": 11}),
        ("mt5", {"encoder": 11, "decoder": 11}, {"d_ff": 11}),
        ("gpt2", {"decoder": 9}, {"n_inner": 9}),
        ("phi3", {"decoder": 9}, {"intermediate_size": 9}),
        ("falcon", {"decoder": 9}, {"ffn_hidden_size": 9}),
        ("opt", {"decoder": 9}, {"ffn_dim": 9}),
    ],
)
def test_own_widths_that_are_equal_are_a_plain_model(
    small_model: SmallModel, architecture: str, sizes: dict[str, int], expected: dict[str, int], tmp_path: Path
) -> None:
    model = small_model(architecture)
    pruned = prune(model, even_masks(model, sizes), "de-en")
    assert {key: getattr(pruned.config, key) for key in expected} == expected
    assert not hasattr(pruned.config, SHAPES)
    pruned.save_pretrained(tmp_path)
    loaded = plain_loader(model).from_pretrained(tmp_path, dtype=torch.float64)
    assert same_state(loaded, pruned.state_dict())


def test_t5_has_one_width_for_both_stacks(small_model: SmallModel, small_batch: SmallBatch, tmp_path: Path) -> None:
    model = small_model("t5")
    masks, batch = even_masks(model, {"encoder": 5, "decoder": 13}), inputs_of(model, small_batch)
    own = prune(model, masks, "de-en")
    assert widths_of(own) == {"encoder.0": 5, "encoder.1": 5, "decoder.0": 13, "decoder.1": 13}
    assert hasattr(own.config, SHAPES)
    assert own.config.d_ff == model.config.d_ff
    pruned = prune(model, masks, "de-en", widths="stack")
    assert set(widths_of(pruned).values()) == {13}
    assert pruned.config.d_ff == 13
    pruned.save_pretrained(tmp_path)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path, dtype=torch.float64).eval()
    with torch.no_grad():
        assert nearly_equal(logits(loaded, batch), masked_logits(model, masks, batch))


@pytest.mark.parametrize("architecture", ["m2m_100", "gpt2", "phi3"])
def test_a_specialised_model_is_pruned_and_stays_specialised(
    small_model: SmallModel, small_batch: SmallBatch, architecture: str
) -> None:
    model = small_model(architecture)
    masks, other, batch = draw_masks(model), draw_masks(model, seed=1), inputs_of(model, small_batch)
    expected = masked_logits(model, other, batch)
    specialize(model, masks, packed="always")
    state = state_of(model)
    with torch.no_grad():
        before = logits(model, batch, tasks=["en-fr"] * 4)
        with task(model, "en-fr"):
            pruned = prune(model, other, "de-en")  # other masks than it computes with, inside another task
            assert nearly_equal(logits(pruned, batch), expected)
            assert torch.equal(logits(model, batch), before)
        assert get_masks(model) is masks
        assert get_masks(pruned) is None
        assert same_state(model, state)
        for parameter in pruned.parameters():
            parameter.zero_()
        assert torch.equal(logits(model, batch, tasks=["en-fr"] * 4), before)  # no memory in common
        inputs = {name: value for name, value in batch.items() if "decoder" not in name}
        pruned.generate(**inputs, max_new_tokens=2)  # the class's generate: no tasks
        with pytest.raises(ValueError, match="tasks"):
            pruned.generate(**inputs, max_new_tokens=2, tasks=["de-en"] * 4)


def test_a_pruned_model_can_be_recorded_specialised_and_pruned_again(
    small_model: SmallModel, small_batch: SmallBatch, tmp_path: Path
) -> None:
    model = small_model()
    batch = inputs_of(model, small_batch)
    once = prune(model, draw_masks(model), "de-en")
    counts = neuronspec.record_activations(once, [batch | {"tasks": ["de-en"] * 4}])
    assert {layer: value.shape[-1] for layer, value in counts.values.items()} == widths_of(once)
    masks = even_masks(once, {"encoder": 6, "decoder": 8})
    expected = masked_logits(once, masks, batch)
    for widths in ("own", "stack"):
        twice = prune(once, masks, "de-en", widths=widths)
        with torch.no_grad():
            assert nearly_equal(logits(twice, batch), expected)
        assert (twice.config.encoder_ffn_dim, twice.config.decoder_ffn_dim) == (6, 8)
        assert not getattr(twice.config, SHAPES, None)  # it is a plain model again
        assert hasattr(once.config, SHAPES)
        twice.save_pretrained(tmp_path / widths)
        loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / widths, dtype=torch.float64)
        assert same_state(loaded, twice.state_dict())


def test_own_widths_survive_shards_and_a_second_saving(small_model: SmallModel, tmp_path: Path) -> None:
    pruned = prune(model := small_model().float(), draw_masks(model), "de-en")
    pruned.save_pretrained(tmp_path / "one", max_shard_size="10KB")
    assert len(list((tmp_path / "one").glob("*.safetensors"))) > 1
    first = neuronspec.load_model(tmp_path / "one")
    first.save_pretrained(tmp_path / "two")
    assert same_state(neuronspec.load_model(tmp_path / "two"), pruned.state_dict())


def test_own_widths_with_a_missing_weight_are_refused(small_model: SmallModel, tmp_path: Path) -> None:
    pruned = prune(model := small_model().float(), draw_masks(model), "de-en")
    state = {name: tensor for name, tensor in pruned.state_dict().items() if "decoder.layers.1.fc1" not in name}
    pruned.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(NeuronspecError, match=r"2 weights are missing, first model\.decoder\.layers\.1\.fc1"):
        neuronspec.load_model(tmp_path)


def test_training_mode_frozen_weights_and_type_are_kept(small_model: SmallModel) -> None:
    model = small_model().to(torch.bfloat16).train()
    frozen = find_ffn_layers(model)[0]
    for matrix in (*frozen.expansions, frozen.projection):
        matrix.requires_grad_(False)
    pruned = prune(model, draw_masks(model), "de-en")
    assert pruned.training
    assert {parameter.dtype for parameter in pruned.parameters()} == {torch.bfloat16}
    assert not any(matrix.weight.requires_grad for matrix in find_ffn_layers(pruned)[0].expansions)
    assert sum(p.requires_grad for p in pruned.parameters()) == sum(p.requires_grad for p in model.parameters())
    assert all(parameter.is_contiguous() for parameter in pruned.parameters())


def test_the_released_fold_does_not_depend_on_the_special_tokens(
    small_model: SmallModel, small_batch: SmallBatch
) -> None:
    """Configurations may have several ends of a sentence, or none."""
    for eos in (2, [2, 3], None):
        model = small_model("gpt2", eos_token_id=eos)
        masks, batch = draw_masks(model).keep_bias(), inputs_of(model, small_batch)
        expected = masked_logits(model, masks, batch)
        with torch.no_grad():
            assert nearly_equal(logits(prune(model, masks, "de-en"), batch), expected), eos


def test_what_cannot_be_pruned_is_refused(small_model: SmallModel) -> None:
    model = small_model()
    masks = draw_masks(model)
    with pytest.raises(NeuronspecError, match=r"no masks for the task 'de-em' \(did you mean 'de-en'"):
        prune(model, masks, "de-em")
    with pytest.raises(NeuronspecError, match="they belong to another architecture"):
        prune(model, draw_masks(small_model("gpt2")), "de-en")
    with pytest.raises(NeuronspecError, match=r"the masks have 24 neurons in decoder\.0, the model has 40"):
        prune(model, draw_masks(small_model(decoder_ffn_dim=24)), "de-en")


def test_unknown_widths_are_refused(small_model: SmallModel) -> None:
    model = small_model()
    with pytest.raises(NeuronspecError, match="stak"):
        prune(model, draw_masks(model), "de-en", widths="stak")  # type: ignore[arg-type]


@pytest.mark.parametrize("architecture", ["m2m_100", "gpt2", "phi3", "mt5"])
def test_matrices_say_their_new_sizes(small_model: SmallModel, architecture: str) -> None:
    model = small_model(architecture)
    pruned = prune(model, masks := draw_masks(model), "de-en")
    for layer in find_ffn_layers(pruned):
        kept = int(masks.mask("de-en", layer.name).sum())
        assert {features_out(matrix) for matrix in layer.expansions} <= {kept, 2 * kept}
        assert features_out(layer.projection) == 16
        assert str(kept) in repr(layer.projection)
