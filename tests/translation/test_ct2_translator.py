"""CTranslate2 translates as transformers does, plain and specialized (R8), and leaves the model as it was."""

from __future__ import annotations

import importlib
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models.tokenizers import make_marian
from tests.processes import LIBRARIES, call
from tests.translation.talkative_models import TASKS, make_masks, make_model
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from neuronspec.config.sections import Translation
from neuronspec.data.vocabulary import learn_vocabulary
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize
from neuronspec.specialization.pruning import prune
from neuronspec.translation import ct2_models
from neuronspec.translation.beam_search import translate_sentences
from neuronspec.translation.ct2_conversion import CONVERTIBLE
from neuronspec.translation.ct2_translator import CT2Translator

pytest.importorskip("ctranslate2")

OPTIONS = Translation(beams=1, max_tokens=10)
_DRAW = random.Random(5)
SENTENCES = [" ".join("".join(_DRAW.choices("abcdefghijklmnop", k=4)) for _ in range(1 + n % 5)) for n in range(12)]
MIXED = [TASKS[n % 4] for n in range(12)]


def options_for(model: PreTrainedModel, beams: int, **changes: Any) -> Translation:
    """Beam searches that end at the same moment in both libraries, so that they must agree."""
    model.generation_config.early_stopping = beams > 1
    return Translation(**{"beams": beams, "max_tokens": 10, **changes})


@pytest.fixture
def model(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    return make_model("m2m_100", tokenizer)


@pytest.mark.parametrize("architecture", [*CONVERTIBLE, "preset"])
def test_it_translates_as_transformers_do(architecture: str, tokenizer: PreTrainedTokenizerFast) -> None:
    model = make_model(architecture, tokenizer)
    with CT2Translator(model, tokenizer, device="cpu") as engine:
        for beams in (1, 5):
            options = options_for(model, beams)
            expected = translate_sentences(model, tokenizer, SENTENCES, MIXED, options)
            assert len(set(expected)) > 4
            assert engine(SENTENCES, MIXED, options) == expected


def test_positions_begin_where_padding_says(tokenizer: PreTrainedTokenizerFast) -> None:
    model = make_model("m2m_100", tokenizer, pad_token_id=0)
    expected = translate_sentences(model, tokenizer, SENTENCES, MIXED, OPTIONS)
    assert expected != translate_sentences(make_model("m2m_100", tokenizer), tokenizer, SENTENCES, MIXED, OPTIONS)
    assert CT2Translator(model, tokenizer, device="cpu")(SENTENCES, MIXED, OPTIONS) == expected


@pytest.mark.parametrize("embeddings", ["separate", "shared"])
def test_every_kind_of_embeddings_is_converted(tokenizer: PreTrainedTokenizerFast, embeddings: str) -> None:
    model = make_model("preset", tokenizer, embeddings=embeddings)
    tied = model.get_encoder().embed_tokens.weight is model.lm_head.weight
    assert tied == (embeddings == "shared")
    expected = translate_sentences(model, tokenizer, SENTENCES, MIXED, OPTIONS)
    assert CT2Translator(model, tokenizer, device="cpu")(SENTENCES, MIXED, OPTIONS) == expected


@pytest.mark.parametrize("architecture", ["m2m_100", "mbart", "t5", "mt5", "preset"])
@pytest.mark.parametrize("released", [False, True])
def test_r8_a_specialized_model_is_translated_with_the_neurons_of_each_task(
    tokenizer: PreTrainedTokenizerFast, architecture: str, released: bool
) -> None:
    model = make_model(architecture, tokenizer)
    dense = translate_sentences(model, tokenizer, SENTENCES, MIXED, OPTIONS)
    own = make_masks(model)
    masks = NeuronMasks.concatenate([own, own.zero_shot(["de-fr", "fr-de"])])
    specialize(model, masks, released=released)
    tasks = [("de-fr", "fr-de", *TASKS)[n % 6] for n in range(12)]
    with CT2Translator(model, tokenizer, device="cpu") as engine:
        for beams in (1, 5):
            options = options_for(model, beams)
            expected = translate_sentences(model, tokenizer, SENTENCES, tasks, options)
            assert expected != dense
            assert engine(SENTENCES, tasks, options) == expected


def test_the_bias_of_a_masked_neuron_is_kept_where_the_model_keeps_it(tokenizer: PreTrainedTokenizerFast) -> None:
    """Whatever the masks' own signature says; the two ways give different translations here."""
    translations = []
    for released in (False, True):
        model = make_model("m2m_100", tokenizer)
        with torch.no_grad():
            for layer in find_ffn_layers(model):
                layer.expansions[0].bias.normal_(0.5, 2.0)
        specialize(model, make_masks(model), released=released)
        translations.append(CT2Translator(model, tokenizer, device="cpu")(SENTENCES, MIXED, OPTIONS))
        assert translations[-1] == translate_sentences(model, tokenizer, SENTENCES, MIXED, OPTIONS)
    assert translations[0] != translations[1]


def test_beams_are_ranked_by_length_as_transformers_rank_them(tokenizer: PreTrainedTokenizerFast) -> None:
    """CTranslate2 counts the tag as a token of the translation, which would choose others here."""
    model = make_model("m2m_100", tokenizer, tie_word_embeddings=False)
    with torch.no_grad():
        model.lm_head.weight.mul_(0.4)  # less sure, and ending sooner
        model.lm_head.weight[tokenizer.eos_token_id].mul_(3)
    options = options_for(model, 5)
    expected = translate_sentences(model, tokenizer, SENTENCES, MIXED, options)
    assert CT2Translator(model, tokenizer, device="cpu")(SENTENCES, MIXED, options) == expected


def test_a_search_goes_on_where_transformers_go_on(tokenizer: PreTrainedTokenizerFast) -> None:
    """By default a search does not end with the fifth finished translation."""
    model = make_model("t5", tokenizer)
    with torch.no_grad():
        model.lm_head.weight.mul_(0.3)
        model.lm_head.weight[tokenizer.eos_token_id].mul_(3)
    engine = CT2Translator(model, tokenizer, device="cpu")
    options, translations = Translation(beams=5, max_tokens=10), []
    for early in (False, True):
        model.generation_config.early_stopping = early
        translations.append(engine(SENTENCES, MIXED, options))
        assert translations[-1] == translate_sentences(model, tokenizer, SENTENCES, MIXED, options)
    assert translations[0] != translations[1]


@pytest.mark.parametrize("tokens", [1, 2, 7])
def test_the_longest_output_has_as_many_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tokens: int
) -> None:
    options = Translation(beams=1, max_tokens=tokens)
    expected = translate_sentences(model, tokenizer, SENTENCES, MIXED, options)
    assert CT2Translator(model, tokenizer, device="cpu")(SENTENCES, MIXED, options) == expected
    assert expected != translate_sentences(
        model, tokenizer, SENTENCES, MIXED, Translation(beams=1, max_tokens=tokens + 1)
    )


def test_the_generation_settings_of_a_model_are_obeyed(tokenizer: PreTrainedTokenizerFast) -> None:
    model = make_model("bart", tokenizer)
    plain = translate_sentences(model, tokenizer, SENTENCES, MIXED, OPTIONS)
    said = [number for line in tokenizer(plain, add_special_tokens=False)["input_ids"] for number in line]
    common = max(set(said), key=said.count)
    for settings in (
        {"no_repeat_ngram_size": 2},
        {"bad_words_ids": [[common]]},
        {"suppress_tokens": [common]},
        {"forced_eos_token_id": 2},
    ):
        model = make_model("bart", tokenizer)
        model.generation_config.update(**settings)
        expected = translate_sentences(model, tokenizer, SENTENCES, MIXED, OPTIONS)
        assert expected != plain
        assert CT2Translator(model, tokenizer, device="cpu")(SENTENCES, MIXED, OPTIONS) == expected, settings


@pytest.mark.parametrize("settings", [{"min_new_tokens": 4}, {"min_length": 7}, {"min_length": 1}])
def test_no_translation_ends_before_a_model_may(tokenizer: PreTrainedTokenizerFast, settings: dict[str, int]) -> None:
    model = make_model("bart", tokenizer)
    with torch.no_grad():
        model.final_logits_bias[0, tokenizer.eos_token_id] += 100  # it would end at once
    model.generation_config.update(**settings)
    expected = translate_sentences(model, tokenizer, SENTENCES, MIXED, OPTIONS)
    assert any(expected) == (max(settings.values()) > 1)
    assert CT2Translator(model, tokenizer, device="cpu")(SENTENCES, MIXED, OPTIONS) == expected


def test_a_setting_that_ctranslate2_lacks_is_refused_by_name(tokenizer: PreTrainedTokenizerFast) -> None:
    model = make_model("bart", tokenizer)
    model.generation_config.encoder_no_repeat_ngram_size = 3
    with pytest.raises(NeuronspecError, match="encoder_no_repeat_ngram_size=3, which CTranslate2 cannot do"):
        CT2Translator(model, tokenizer, device="cpu")(SENTENCES, MIXED, OPTIONS)


def test_the_first_token_that_a_model_without_tags_is_made_to_say_is_obeyed() -> None:
    tokenizer = learn_vocabulary(iter(SENTENCES * 3), 60, [])
    tasks = ["de-en"] * len(SENTENCES)
    plain = translate_sentences(make_model("bart", tokenizer), tokenizer, SENTENCES, tasks, OPTIONS)
    model = make_model("bart", tokenizer)
    model.generation_config.forced_bos_token_id = 9
    expected = translate_sentences(model, tokenizer, SENTENCES, tasks, OPTIONS)
    assert expected != plain
    assert CT2Translator(model, tokenizer, device="cpu")(SENTENCES, tasks, OPTIONS) == expected


@pytest.mark.parametrize("compute_type", ["default", "float32", "int8"])
@pytest.mark.parametrize("specialized", [False, True])
def test_the_model_stays_as_it_is(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, compute_type: str, specialized: bool
) -> None:
    if specialized:
        specialize(model, make_masks(model))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    config = model.config.to_dict()
    with CT2Translator(model, tokenizer, compute_type, "cpu", threads=1) as engine:
        assert any(engine(SENTENCES, MIXED, OPTIONS))
    assert model.config.to_dict() == config
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted_as_float32(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, dtype: torch.dtype
) -> None:
    model.to(dtype)
    translations = CT2Translator(model, tokenizer, device="cpu")(SENTENCES, MIXED, OPTIONS)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert translations == translate_sentences(model.float(), tokenizer, SENTENCES, MIXED, OPTIONS)


def test_order_batches_and_progress(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    specialize(model, make_masks(model))
    engine = CT2Translator(model, tokenizer, device="cpu")
    straight = engine(SENTENCES, MIXED, OPTIONS)
    order = random.Random(1).sample(range(12), 12)
    steps: list[int] = []
    options = Translation(beams=1, max_tokens=10, tokens_per_batch=20)
    shuffled = engine([SENTENCES[n] for n in order], [MIXED[n] for n in order], options, steps.append)
    assert shuffled == [straight[n] for n in order]
    assert sum(steps) == 12
    assert len(steps) > 4
    assert engine([], []) == []


def test_tasks_with_the_same_neurons_share_a_conversion(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = make_masks(model)
    rows = torch.tensor([0, 1, 0, 1])
    specialize(model, NeuronMasks(TASKS, {layer: masks.layer(layer)[rows] for layer in masks.layers}))
    pruned: list[str] = []

    def count(model: PreTrainedModel, masks: NeuronMasks, task: str) -> PreTrainedModel:
        pruned.append(task)
        return prune(model, masks, task)

    monkeypatch.setattr(ct2_models, "prune", count)
    engine = CT2Translator(model, tokenizer, device="cpu")
    assert engine(SENTENCES, MIXED, OPTIONS) == engine(SENTENCES, MIXED, OPTIONS)
    assert len(pruned) == 2


def test_few_models_are_kept_in_memory_and_on_disk(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ct2_models, "MAX_IN_MEMORY", 2)
    specialize(model, make_masks(model))
    expected = translate_sentences(model, tokenizer, SENTENCES, MIXED, OPTIONS)
    with CT2Translator(model, tokenizer, device="cpu") as engine:
        root = engine._converted.root
        assert engine(SENTENCES, MIXED, OPTIONS) == expected
        assert (len(engine._converted._loaded), len(list(root.iterdir()))) == (2, 4)
        monkeypatch.setattr(ct2_models, "MAX_ON_DISK", 1)
        engine._converted._loaded.clear()
        for path in list(root.iterdir())[:2]:
            (path / "model.bin").unlink()
            path.rename(root / path.name[::-1])
        assert engine(SENTENCES, MIXED, OPTIONS) == expected
        assert len(list(root.iterdir())) == 1
    assert not root.exists()
    with pytest.raises(NeuronspecError, match="was closed"):
        engine(SENTENCES, MIXED, OPTIONS)


def test_what_cannot_be_done_is_said(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, small_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NeuronspecError, match=r"cannot convert a 'nllb-moe' model, only m2m_100, .*default engine"):
        CT2Translator(small_model("nllb-moe"), tokenizer)
    with pytest.raises(NeuronspecError, match="'llama' model: it is no encoder-decoder"):
        CT2Translator(small_model("llama"), tokenizer)
    with pytest.raises(NeuronspecError, match="as many attention heads"):
        CT2Translator(make_model("m2m_100", tokenizer, decoder_attention_heads=2), tokenizer)
    with pytest.raises(
        NeuronspecError, match=r"no compute type 'int3' on this cpu; choose default, auto, float32, int8"
    ):
        CT2Translator(model, tokenizer, "int3", "cpu")
    with pytest.raises(NeuronspecError, match="cannot use the device 'tpu'"):
        CT2Translator(model, tokenizer, device="tpu")
    with pytest.raises(
        NeuronspecError, match=r"cannot convert this 'm2m_100' model: 'tanh'; translate with the default"
    ):
        CT2Translator(make_model("m2m_100", tokenizer, activation_function="tanh"), tokenizer)(["a"], ["de-en"])
    engine = CT2Translator(model, tokenizer, device="cpu")
    with pytest.raises(NeuronspecError, match="2 sentences but 1 tasks: give one task for each sentence"):
        engine(SENTENCES[:2], ["de-en"])
    with pytest.raises(NeuronspecError, match="1 of 1 is longer than 64 tokens, the most that are read"):
        engine(["abcdefgh " * 40], ["de-en"], Translation(too_long="error"))
    with pytest.raises(NeuronspecError, match=r"no tag for Portuguese \(pt\)"):
        engine(SENTENCES[:1], ["de-pt"])
    specialize(model, make_masks(model))
    with pytest.raises(NeuronspecError, match=r"no masks for the task 'de-fr'.*known: de-en, en-de"):
        CT2Translator(model, tokenizer)(SENTENCES[:1], ["de-fr"])

    def refuse(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(NeuronspecError, match=r"not installed: pip install 'neuronspec\[ct2\]'"):
        CT2Translator(model, tokenizer)


def test_the_module_imports_without_ctranslate2() -> None:
    code = "import sys, neuronspec.translation.ct2_translator; sys.exit('ctranslate2' in sys.modules)"
    assert call(["-c", code], warm=LIBRARIES).returncode == 0


@pytest.mark.parametrize("specialized", [False, True])
def test_a_vocabulary_for_each_side_is_converted(tmp_path: Path, specialized: bool) -> None:
    tokenizer = make_marian(tmp_path, separate=True, source_lang="en", target_lang="de")
    sizes = {"vocab_size": len(tokenizer.encoder), "decoder_vocab_size": len(tokenizer.decoder)}
    assert len({*sizes.values()}) == 2
    padding = tokenizer.target_encoder["<pad>"]  # which starts a translation, too
    more = {"pad_token_id": padding, "decoder_start_token_id": padding}
    more |= {"share_encoder_decoder_embeddings": False, "tie_word_embeddings": False}
    model = make_model("marian", tokenizer, **sizes, **more)
    model.final_logits_bias[0, tokenizer.eos_token_id] -= 3  # or it would mostly say nothing
    model.lm_head.weight.data.mul_(0.3)  # or it would say the same of most sentences
    if specialized:
        specialize(model, make_masks(model, ("en-de",)))
    sentences = ["hello word", "a b c", "Guten Tag", "c a", "d e f", "world", ""]

    with CT2Translator(model, tokenizer, device="cpu") as engine:
        for beams in (1, 4):
            options = options_for(model, beams)
            expected = translate_sentences(model, tokenizer, sentences, ["en-de"] * 7, options)
            assert len(set(expected)) > 2
            assert engine(sentences, ["en-de"] * 7, options) == expected
