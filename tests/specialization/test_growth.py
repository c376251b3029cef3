"""Models that grow: whatever is trained in the new part, the tasks from before compute the same bits."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.models.additions import (
    Addition,
    align_weights,
    find_level,
    find_vocabulary_limit,
    read_additions,
    write_additions,
)
from neuronspec.models.embeddings import tie_embeddings
from neuronspec.models.loading import load_model, save_model
from neuronspec.models.token_matrices import list_token_tensors
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.growth import find_free_neurons, grow_model, widen_masks
from neuronspec.specialization.masking import specialize
from neuronspec.specialization.packing import Packed
from neuronspec.specialization.pruning import prune
from neuronspec.specialization.routing import assign_tasks, dense, unspecialize
from neuronspec.training.objective import token_losses

SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., dict[str, torch.Tensor]]

OLD = ("de-en", "en-de", "sv-en")
NEW = ("en-lt", "lt-en")
GROWABLE = ("m2m_100", "mbart", "marian", "t5", "mt5")


def draw_masks(model: PreTrainedModel, tasks: Sequence[str] = OLD, seed: int = 0, share: float = 0.6) -> NeuronMasks:
    generator = torch.Generator().manual_seed(seed)
    return NeuronMasks(
        tasks,
        {
            layer.name: torch.rand(len(tasks), layer.width, generator=generator) < share
            for layer in find_ffn_layers(model)
        },
    )


def build(small_model: SmallModel, architecture: str, **changes: Any) -> PreTrainedModel:
    """A model in float32, where the order of a sum can be seen in its last bits."""
    # Odd widths and sizes, which no kernel divides evenly
    widths = {"d_ff": 77} if "t5" in architecture else {"encoder_ffn_dim": 77, "decoder_ffn_dim": 101}
    return small_model(architecture, **{**widths, "vocab_size": 211, **changes}).float()


def grow(model: PreTrainedModel, masks: NeuronMasks, **options: Any) -> tuple[PreTrainedModel, NeuronMasks]:
    """A model with two more tasks, and everything that is theirs alone set at random, as training may leave it."""
    grown = grow_model(
        model, **{"languages": ["lt"], "tasks": NEW, "parents": [[4, 5], [], [6]], "widen": 13, "seed": 1, **options}
    )
    widths = {layer.name: layer.width for layer in find_ffn_layers(grown)}
    wide = widen_masks(masks, widths)
    free = find_free_neurons(wide)
    generator = torch.Generator().manual_seed(3)
    tasks = options.get("tasks", NEW)
    new = {layer: torch.rand(len(tasks), width, generator=generator) < 0.5 for layer, width in widths.items()}
    new = {layer: mask | free[layer] for layer, mask in new.items()}

    size = len(list_token_tensors(model)[0])
    with torch.no_grad():
        for tensor in list_token_tensors(grown):
            fresh = tensor[..., size:] if tensor.ndim == 1 or len(tensor) == 1 else tensor[size:]
            fresh.normal_(0, 5.0, generator=generator)
        for layer in find_ffn_layers(grown):
            for matrix in layer.expansions:
                matrix.weight[free[layer.name]] = 3 * torch.randn(
                    int(free[layer.name].sum()), matrix.weight.shape[1], generator=generator
                )
                if matrix.bias is not None:
                    matrix.bias[free[layer.name]] = 2.0
            layer.projection.weight[:, free[layer.name]] = 4.0
    return grown, NeuronMasks.concatenate([wide, NeuronMasks(tasks, new)])


def bits(tensor: torch.Tensor) -> list[int]:
    found: list[int] = tensor.contiguous().view(torch.int32).reshape(-1).tolist()
    return found


@torch.no_grad()
def outputs(model: PreTrainedModel, batch: dict[str, torch.Tensor], tasks: Sequence[str]) -> torch.Tensor:
    found: torch.Tensor = model(**batch, tasks=list(tasks)).logits
    return found


def search(model: PreTrainedModel, batch: dict[str, torch.Tensor], tasks: Sequence[str], beams: int) -> Any:
    return model.generate(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        tasks=list(tasks),
        num_beams=beams,
        max_new_tokens=7,
        do_sample=False,
        output_scores=True,
        return_dict_in_generate=True,
    )


@pytest.mark.parametrize("architecture", GROWABLE)
@pytest.mark.parametrize("packed", ["never", "always"])
def test_tasks_from_before_compute_the_same_bits_in_a_model_that_has_grown(
    architecture: str, packed: Packed, small_model: SmallModel, small_batch: SmallBatch
) -> None:
    model = build(small_model, architecture)
    masks = draw_masks(model)
    grown, all_masks = grow(model, masks)
    specialize(model, masks, packed=packed)
    specialize(grown, all_masks, packed=packed)

    for tasks in (["de-en"] * 4, ["de-en", "sv-en", "en-de", "de-en"]):
        batch = small_batch()
        before, after = outputs(model, batch, tasks), outputs(grown, batch, tasks)
        assert bits(before) == bits(after[..., :211])
        assert (after[..., 211:] == -torch.inf).all()

        for beams in (1, 4):
            one, other = search(model, batch, tasks, beams), search(grown, batch, tasks, beams)
            assert one.sequences.tolist() == other.sequences.tolist()
            for score, same in zip(one.scores, other.scores, strict=True):
                assert bits(score) == bits(same)


@pytest.mark.parametrize("architecture", ["m2m_100", "t5"])
def test_rows_from_before_compute_the_same_bits_next_to_rows_of_a_new_language(
    architecture: str, small_model: SmallModel, small_batch: SmallBatch
) -> None:
    model = build(small_model, architecture)
    masks = draw_masks(model)
    grown, all_masks = grow(model, masks)
    specialize(model, masks)
    specialize(grown, all_masks)

    before = outputs(model, small_batch(), ["de-en", "sv-en", "en-de", "sv-en"])
    after = outputs(grown, small_batch(), ["de-en", "lt-en", "en-de", "en-lt"])
    old, new = [0, 2], [1, 3]
    assert bits(before[old]) == bits(after[old][..., :211])
    assert torch.isfinite(after[new]).all()
    assert (after[old][..., 211:] == -torch.inf).all()


def test_new_tasks_read_their_new_neurons_and_tokens(small_model: SmallModel, small_batch: SmallBatch) -> None:
    model = build(small_model, "m2m_100")
    grown, masks = grow(model, draw_masks(model))
    plain = copy.deepcopy(grown)
    with torch.no_grad():  # what a mask leaves of a model, made by hand
        for layer in find_ffn_layers(plain):
            layer.projection.weight[:, ~masks.mask("en-lt", layer.name)] = 0

    specialize(grown, masks)
    with torch.no_grad():
        expected = plain(**small_batch()).logits
    torch.testing.assert_close(outputs(grown, small_batch(), ["en-lt"] * 4), expected, rtol=1e-4, atol=1e-4)
    with torch.no_grad(), dense(grown):
        torch.testing.assert_close(grown(**small_batch()).logits, unspecialize(grown)(**small_batch()).logits)


def test_two_additions_in_turn_keep_the_bits_of_all_tasks_before(
    small_model: SmallModel, small_batch: SmallBatch
) -> None:
    model = build(small_model, "m2m_100")
    grown, masks = grow(model, draw_masks(model))
    further, all_masks = grow(grown, masks, languages=["lv"], tasks=("en-lv", "lv-en"), widen=5)
    specialize(grown, masks)
    specialize(further, all_masks)

    for tasks in (["de-en"] * 4, ["en-lt"] * 4, ["lt-en", "de-en", "en-lt", "sv-en"]):
        before, after = outputs(grown, small_batch(), tasks), outputs(further, small_batch(), tasks)
        assert bits(before) == bits(after[..., :214])
        assert (after[..., 214:] == -torch.inf).all()
    assert torch.isfinite(outputs(further, small_batch(), ["en-lv"] * 4)).all()


@settings(max_examples=8)
@given(seed=st.integers(0, 999), share=st.floats(0, 1), widen=st.sampled_from([0, 1, 64]))
def test_any_masks_keep_their_bits(
    seed: int, share: float, widen: int, small_model: SmallModel, small_batch: SmallBatch
) -> None:
    model = build(small_model, "m2m_100")
    masks = draw_masks(model, seed=seed, share=share)
    grown, all_masks = grow(model, masks, widen=widen)
    specialize(model, masks)
    specialize(grown, all_masks)
    assert bits(outputs(model, small_batch(), ["de-en"] * 4)) == bits(
        outputs(grown, small_batch(), ["de-en"] * 4)[..., :211]
    )


def test_embeddings_of_their_own_grow_apart(small_model: SmallModel, small_batch: SmallBatch, tmp_path: Path) -> None:
    model = build(small_model, "m2m_100", tie_word_embeddings=False)
    model.config.embeddings = "separate"
    tie_embeddings(model)
    masks = draw_masks(model)
    grown, all_masks = grow(model, masks)

    core: Any = grown.base_model
    assert core.decoder.embed_tokens.weight is grown.lm_head.weight
    assert core.encoder.embed_tokens.weight is core.shared.weight
    assert core.shared.weight is not grown.lm_head.weight

    save_model(grown, tmp_path)
    loaded = specialize(load_model(tmp_path), all_masks)
    specialize(align_weights(model), masks)
    same = outputs(align_weights(loaded), small_batch(), ["de-en"] * 4)
    assert bits(outputs(model, small_batch(), ["de-en"] * 4)) == bits(same[..., :211])
    assert len(AutoModelForSeq2SeqLM.from_pretrained(tmp_path).lm_head.weight) == 214


def test_losses_of_tokens_know_their_rows(small_model: SmallModel, small_batch: SmallBatch) -> None:
    model = build(small_model, "m2m_100")
    masks = draw_masks(model)
    grown, all_masks = grow(model, masks)
    specialize(model, masks)
    specialize(grown, all_masks)

    batch = small_batch()
    labels = batch["decoder_input_ids"].where(batch["decoder_attention_mask"].bool(), torch.tensor(-100))
    numbers = {"tasks": torch.tensor([0, 2, 1, 0]), "labels": labels}
    before, _ = token_losses(model, batch | numbers)
    mixed, _ = token_losses(grown, batch | numbers | {"tasks": torch.tensor([0, 4, 1, 3])})
    assert before[[0, 2]].tolist() == mixed[[0, 2]].tolist()
    assert torch.isfinite(mixed).all()

    assign_tasks(grown, ["de-en", "en-lt"])
    with pytest.raises(NeuronspecError, match="the task of every token"):
        grown.lm_head(torch.zeros(3, 16))


def test_a_pruned_task_from_before_has_only_its_tokens(small_model: SmallModel, small_batch: SmallBatch) -> None:
    model = build(small_model, "m2m_100")
    grown, masks = grow(model, draw_masks(model))
    pruned = prune(grown, masks, "de-en")
    specialize(grown, masks)
    with torch.no_grad():
        assert pruned(**small_batch()).logits.shape[-1] == pruned.config.vocab_size == 211
        expected = outputs(grown, small_batch(), ["de-en"] * 4)[..., :211]
        torch.testing.assert_close(pruned(**small_batch()).logits, expected, rtol=1e-4, atol=1e-4)
    assert read_additions(pruned.config) == ()
    assert prune(grown, masks, "en-lt").config.vocab_size == 214


def test_free_neurons_are_those_of_no_task_and_new_ones_belong_to_none_from_before() -> None:
    masks = NeuronMasks.from_dict({"de-en": {"encoder.0": [1, 0, 0]}, "sv-en": {"encoder.0": [1, 1, 0]}})
    wide = widen_masks(masks, {"encoder.0": 5})
    assert wide.layer("encoder.0").int().tolist() == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0]]
    assert find_free_neurons(wide)["encoder.0"].int().tolist() == [0, 0, 1, 1, 1]


def test_directions_know_what_they_can_write() -> None:
    first = Addition(languages=("lt",), tasks=("en-lt", "lt-en"), vocabulary=100, widths={"encoder.0": 8})
    second = Addition(languages=("ka",), tasks=("en-ka", "ka-en"), vocabulary=120, widths={"encoder.0": 9})
    found = {
        task: find_vocabulary_limit([first, second], task) for task in ("de-en", "lt-en", "en-ka", "de-lt", "lt-de")
    }
    assert found == {"de-en": 100, "lt-en": 120, "en-ka": None, "de-lt": 120, "lt-de": 100}
    assert find_level([first, second], "lit_Latn-eng_Latn") == 1
    assert find_level([first, second], "lt-de", "source") == 1
    assert find_level([first, second], "anything") == 0


@pytest.mark.parametrize(
    "stored",
    [3, [{"languages": ["lt"]}], [{"languages": [], "tasks": [], "vocabulary": 3, "widths": {"encoder.0": 1}}]],
)
def test_r7_a_damaged_configuration_is_refused(stored: Any, small_model: SmallModel) -> None:
    model = small_model("m2m_100")
    model.config.added_languages = stored
    with pytest.raises(NeuronspecError, match=r"copy config\.json again"):
        read_additions(model.config)


def test_r7_a_model_that_shrinks_is_refused(small_model: SmallModel) -> None:
    model = small_model("m2m_100")
    sizes = [100, 90]
    additions = [
        Addition(languages=("lt",), tasks=("en-lt",), vocabulary=size, widths={"encoder.0": 8}) for size in sizes
    ]
    write_additions(model.config, additions)
    with pytest.raises(NeuronspecError, match="sizes that shrink"):
        read_additions(model.config)


@pytest.mark.parametrize(
    ("architecture", "problem"),
    [("fsmt", "output layer is a matrix"), ("nllb-moe", "it has experts"), ("llama", "must be an encoder-decoder")],
)
def test_what_cannot_grow_is_refused(architecture: str, problem: str, small_model: SmallModel) -> None:
    with pytest.raises(NeuronspecError, match=problem):
        grow_model(small_model(architecture), languages=["lt"], tasks=NEW, widen=4)


def test_masks_that_keep_biases_are_refused_for_a_model_that_has_grown(small_model: SmallModel) -> None:
    model = build(small_model, "m2m_100")
    grown, masks = grow(model, draw_masks(model))
    with pytest.raises(NeuronspecError, match="keep the bias of a masked neuron"):
        specialize(grown, masks, released=True)
