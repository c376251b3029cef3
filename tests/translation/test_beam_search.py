"""Translating: order, batching and company change nothing; a specialized model uses each sentence's neurons."""

from __future__ import annotations

import random

import pytest
import torch
from transformers import M2M100Config, M2M100ForConditionalGeneration, PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.sections import Translation
from neuronspec.data.vocabulary import learn_vocabulary
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize
from neuronspec.translation.beam_search import translate_sentences

SENTENCES = [
    "der hund läuft",
    "a",
    "die katze schläft auf dem warmen dach und träumt",
    "the dog runs",
    "eine kleine maus",
    "the cat sleeps on the warm roof and dreams of a small mouse",
    "hund und katze",
]
TASKS = ["de-en", "en-de", "de-fr", "en-fr", "de-en", "en-de", "fr-de"]
OPTIONS = Translation(beams=3, max_tokens=9)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return learn_vocabulary(iter(SENTENCES * 3), 70, ["de", "en", "fr"])


@pytest.fixture
def model(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Untrained, with large weights: what it says is gibberish, but depends on every word and tag."""
    torch.set_num_threads(1)
    torch.manual_seed(2)
    config = M2M100Config(
        vocab_size=len(tokenizer),
        d_model=24,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=64,
        init_std=0.4,
        tie_word_embeddings=False,
        decoder_start_token_id=tokenizer.eos_token_id,
        **{f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "pad", "eos")},
    )
    return M2M100ForConditionalGeneration(config)


def make_masks(model: PreTrainedModel, tasks: list[str]) -> NeuronMasks:
    """Another random half of the neurons for each task."""
    generator = torch.Generator().manual_seed(8)
    layers = find_ffn_layers(model)
    return NeuronMasks.from_dict(
        {name: {layer.name: torch.rand(layer.width, generator=generator) < 0.5 for layer in layers} for name in tasks}
    )


@pytest.fixture(params=["dense", "specialized"])
def either(request: pytest.FixtureRequest, model: PreTrainedModel) -> PreTrainedModel:
    """The model, dense and specialized."""
    return specialize(model, make_masks(model, sorted(set(TASKS)))) if request.param == "specialized" else model


def one_by_one(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, options: Translation = OPTIONS) -> list[str]:
    return [
        translate_sentences(model, tokenizer, [sentence], [name], options)[0]
        for sentence, name in zip(SENTENCES, TASKS, strict=True)
    ]


def test_the_toy_model_is_worth_testing_with(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    translations = one_by_one(model, tokenizer)
    assert all(translations)
    assert len(set(translations)) == len(SENTENCES)


@pytest.mark.parametrize("tokens_per_batch", [8, 40, 100, 4096])
def test_r4_the_output_does_not_depend_on_the_batches(
    either: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens_per_batch: int
) -> None:
    options = Translation(beams=3, max_tokens=9, tokens_per_batch=tokens_per_batch)
    assert translate_sentences(either, tokenizer, SENTENCES, TASKS, options) == one_by_one(either, tokenizer)


@pytest.mark.parametrize("seed", range(3))
def test_translations_come_in_the_order_of_the_sentences(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seed: int
) -> None:
    order = random.Random(seed).sample(range(len(SENTENCES)), len(SENTENCES))
    straight = translate_sentences(model, tokenizer, SENTENCES, TASKS, OPTIONS)
    shuffled = translate_sentences(model, tokenizer, [SENTENCES[n] for n in order], [TASKS[n] for n in order], OPTIONS)
    assert shuffled == [straight[n] for n in order]


def test_r4_mixed_directions_equal_a_call_for_each_direction(
    either: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    mixed = translate_sentences(either, tokenizer, SENTENCES, TASKS, OPTIONS)
    for name in set(TASKS):
        rows = [row for row, other in enumerate(TASKS) if other == name]
        separate = translate_sentences(either, tokenizer, [SENTENCES[row] for row in rows], [name] * len(rows), OPTIONS)
        assert separate == [mixed[row] for row in rows]


@pytest.mark.parametrize("beams", [1, 4])
def test_a_translation_equals_plain_generate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, beams: int
) -> None:
    """The source is `__de__ x </s>`, decoding starts with `</s> __fr__`; nothing of that is in the text."""
    inputs = tokenizer("__de__ " + SENTENCES[2], return_tensors="pt")
    tag = tokenizer.convert_tokens_to_ids("__fr__")
    output = model.eval().generate(
        **inputs, forced_bos_token_id=tag, num_beams=beams, max_new_tokens=10, do_sample=False
    )
    expected = tokenizer.decode(output[0], skip_special_tokens=True).strip()
    options = Translation(beams=beams, max_tokens=9)
    assert translate_sentences(model, tokenizer, [SENTENCES[2]], ["de-fr"], options) == [expected]
    assert "__" not in expected


def test_a_specialized_model_decodes_with_the_masks_of_each_task(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    dense = translate_sentences(model, tokenizer, SENTENCES[:1], ["de-en"], OPTIONS)
    masks = make_masks(model, ["de-en", "en-de"])
    one = translate_sentences(specialize(model, masks), tokenizer, SENTENCES[:1], ["de-en"], OPTIONS)
    swapped = NeuronMasks(["en-de", "de-en"], {layer: masks.layer(layer) for layer in masks.layers})
    other = translate_sentences(specialize(model, swapped), tokenizer, SENTENCES[:1], ["de-en"], OPTIONS)
    assert len({*dense, *one, *other}) == 3


def test_full_masks_change_nothing(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    dense = translate_sentences(model, tokenizer, SENTENCES, TASKS, OPTIONS)
    full = make_masks(model, sorted(set(TASKS)))
    full = NeuronMasks(full.tasks, {layer: torch.ones_like(full.layer(layer)) for layer in full.layers})
    assert translate_sentences(specialize(model, full), tokenizer, SENTENCES, TASKS, OPTIONS) == dense


def test_the_options_reach_the_search(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    def longest(options: Translation) -> int:
        lines = translate_sentences(model, tokenizer, SENTENCES, TASKS, options)
        return max(len(tokenizer(line, add_special_tokens=False)["input_ids"]) for line in lines)

    assert longest(Translation(beams=1, max_tokens=2)) <= 3 < longest(Translation(beams=1, max_tokens=20))
    by_penalty = {
        penalty: translate_sentences(
            model, tokenizer, SENTENCES, TASKS, Translation(beams=4, max_tokens=20, length_penalty=penalty)
        )
        for penalty in (-4.0, 4.0)
    }
    assert sum(map(len, by_penalty[-4.0])) < sum(map(len, by_penalty[4.0]))


def test_progress_is_told_in_sentences(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    steps: list[int] = []
    translate_sentences(
        model, tokenizer, SENTENCES, TASKS, Translation(beams=1, max_tokens=2, tokens_per_batch=20), steps.append
    )
    assert sum(steps) == len(SENTENCES)
    assert len(steps) > 1


def test_the_model_is_left_in_evaluation_mode(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Dropout (0.1 here) must not reach a translation, even right after training."""
    first = translate_sentences(model.train(), tokenizer, SENTENCES, TASKS, OPTIONS)
    assert translate_sentences(model.train(), tokenizer, SENTENCES, TASKS, OPTIONS) == first


def test_nothing_gives_nothing_and_an_empty_line_a_line(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    assert translate_sentences(model, tokenizer, [], []) == []
    with_empty = translate_sentences(model, tokenizer, ["", SENTENCES[0]], ["de-en", "de-en"], OPTIONS)
    assert with_empty[1] == translate_sentences(model, tokenizer, SENTENCES[:1], ["de-en"], OPTIONS)[0]
    assert len(with_empty) == 2


def test_errors_say_what_is_wrong(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(NeuronspecError, match="2 sentences but 1 tasks: give one task for each sentence"):
        translate_sentences(model, tokenizer, SENTENCES[:2], ["de-en"])
    with pytest.raises(NeuronspecError, match=r"no tag for Swedish \(sv\).*__de__, __en__, __fr__"):
        translate_sentences(model, tokenizer, SENTENCES[:1], ["de-sv"])
    specialize(model, make_masks(model, ["de-en", "en-de"]))
    with pytest.raises(NeuronspecError, match=r"no masks for the task 'de-fr'.*known: de-en, en-de"):
        translate_sentences(model, tokenizer, SENTENCES[:1], ["de-fr"], OPTIONS)
