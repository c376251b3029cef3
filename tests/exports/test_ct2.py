"""The format ct2: stock CTranslate2 and transformers translate with it as the masked model does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from tests.exports.vocabulary.vocabularies import KINDS, TEXTS
from tests.exports.vocabulary.vocabularies import make_model as make_untrained
from tests.models.tokenizers import make_marian
from tests.plain_program import find_code, translate_plainly
from tests.translation.talkative_models import make_masks, make_model
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import neuronspec as ns
from neuronspec.config.sections import Translation
from neuronspec.data.vocabulary import learn_vocabulary
from neuronspec.errors import NeuronspecError
from neuronspec.exports.exporting import Export
from neuronspec.exports.formats import EXPORTS
from neuronspec.exports.options import CT2Options
from neuronspec.exports.reference import use_masked
from neuronspec.exports.vocabulary.trimming import list_tokens, trim_vocabulary
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize
from neuronspec.translation.beam_search import translate_sentences
from neuronspec.translation.ct2_conversion import CONVERTIBLE
from neuronspec.translation.ct2_translator import CT2Translator

ctranslate2 = pytest.importorskip("ctranslate2")

SENTENCES = ["ab cd", "ef gh ij", "kl a", "b c d e f", "p o n m"]


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    return make_model("m2m_100", tokenizer)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("texts")
    for language, first in (("de", 0), ("en", 2)):
        (folder / language).write_text("".join(f"{line}\n" for line in SENTENCES[first:]), encoding="utf-8")
    return {language: str(folder / language) for language in ("de", "en")}


def export(model: PreTrainedModel, tokenizer: Any, masks: NeuronMasks | None, out: Path, **options: Any) -> Export:
    given = {"task": "de-en", "sentences": SENTENCES, "max_tokens": 10, "format": "ct2", **options}
    return ns.export(model, tokenizer, masks, out=out, **given)


def count_equal(found: Export) -> tuple[int, int]:
    """Sentences with the same tokens in greedy search, of how many."""
    return found.agreements[0].equal, found.agreements[0].sentences


@pytest.mark.parametrize("architecture", [*CONVERTIBLE, "preset"])
def test_r8_every_architecture_says_what_the_masked_model_says(
    architecture: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    model = make_model(architecture, tokenizer)
    masks = make_masks(model)
    found = export(model, tokenizer, masks, tmp_path / "masked", least_chrf=0)
    assert [agreement.equal for agreement in found.agreements] == [5, 5]  # greedy search, and a beam of 5

    # What was exported is not the dense model.
    dense, masked = (tmp_path / name / "model.bin" for name in ("dense", "masked"))
    export(model, tokenizer, None, tmp_path / "dense", dense=True, least_chrf=0)
    assert masked.stat().st_size < dense.stat().st_size


def test_r8_a_model_of_few_positions_is_compared_within_them(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """Transformers invents positions beyond the table that CTranslate2 ends with: neither side goes there."""
    sentences = [*SENTENCES, "ab cd " * 60]
    found = export(model, tokenizer, make_masks(model), tmp_path / "out", sentences=sentences, max_tokens=None)
    assert count_equal(found) == (5, 5)


@pytest.mark.parametrize("tags", [["de", "en"], []], ids=["tags", "no tags"])
@pytest.mark.parametrize(
    "settings",
    [{"min_new_tokens": 4}, {"suppress_tokens": [2, 5]}, {"forced_bos_token_id": 9}, {"forced_eos_token_id": 2}],
    ids=lambda settings: next(iter(settings)),
)
def test_r8_the_generation_settings_of_a_model_are_obeyed(
    settings: dict[str, Any], tags: list[str], tmp_path: Path
) -> None:
    tokenizer = learn_vocabulary(iter(SENTENCES * 3), 60, tags)
    model = make_model("bart", tokenizer)
    with torch.no_grad():
        model.final_logits_bias[0, tokenizer.eos_token_id] += 3
    model.generation_config.update(**settings)
    found = export(model, tokenizer, make_masks(model), tmp_path / "out", least_chrf=0)
    assert count_equal(found) == (5, 5)

    # The program on the card, greedy
    (code,) = find_code((tmp_path / "out" / "README.md").read_text(encoding="utf-8"))
    code = code.replace("beam_size=5", "beam_size=1").replace("num_hypotheses=5", "num_hypotheses=1")
    shown = translate_plainly(tmp_path / "out", [code], SENTENCES)
    with use_masked(model, make_masks(model)) as masked:
        options = Translation(beams=1, max_tokens=10)
        assert shown == [translate_sentences(masked, tokenizer, SENTENCES, ["de-en"] * 5, options)]


@pytest.mark.parametrize("trim", [False, True], ids=["whole", "trimmed"])
@pytest.mark.parametrize("name", KINDS)
def test_tokens_have_their_own_names_with_every_tokenizer(name: str, trim: bool, tmp_path: Path) -> None:
    make, architecture, changes = KINDS[name]
    tokenizer = make(tmp_path)
    model = make_untrained(tokenizer, architecture, **changes)
    options: dict[str, Any] = {"least_chrf": 0}
    if trim:
        for language, lines in TEXTS.items():
            (tmp_path / language).write_text("\n".join(lines), encoding="utf-8")
        options["trim"] = {language: tmp_path / language for language in TEXTS}

    layers = find_ffn_layers(model)
    masks = NeuronMasks(["de-en"], {layer.name: torch.arange(layer.width)[None] % 3 > 0 for layer in layers})
    out = tmp_path / "out"
    found = export(model, tokenizer, masks, out, sentences=TEXTS["de"], **options)
    assert trim or count_equal(found) == (12, 12)

    vocabulary = json.loads(next(out.glob("*vocabulary.json")).read_text(encoding="utf-8"))
    assert len(set(vocabulary)) == len(vocabulary)
    numbers = list_tokens(tokenizer)
    named = [token for token in vocabulary if token in numbers]
    assert named == [token for token in numbers if token in vocabulary]
    assert (len(named) < len(numbers)) == trim
    assert (len(vocabulary) == len(named)) == trim
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert config["unk_token"] == tokenizer.unk_token
    assert config["decoder_start_token"] == tokenizer.convert_ids_to_tokens(model.config.decoder_start_token_id)


def test_the_program_on_the_card_translates_without_this_package(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, texts: dict[str, str], tmp_path: Path
) -> None:
    masks = make_masks(model)
    export(model, tokenizer, masks, tmp_path / "out", trim=texts, least_chrf=0)
    (code,) = find_code((tmp_path / "out" / "README.md").read_text(encoding="utf-8"))
    assert "target_prefix" in code
    (found,) = translate_plainly(
        tmp_path / "out",
        [code.replace("beam_size=5", "beam_size=1").replace("num_hypotheses=5", "num_hypotheses=1")],
        SENTENCES,
    )

    # The engine of this package, on the same trimmed model
    specialized = specialize(make_model("m2m_100", tokenizer), masks)
    lines = {language: Path(path).read_text(encoding="utf-8").splitlines() for language, path in texts.items()}
    trimmed = trim_vocabulary(specialized, tokenizer, lines, ["de-en"])
    with CT2Translator(trimmed.model, trimmed.tokenizer, device="cpu") as engine:
        assert found == engine(SENTENCES, ["de-en"] * 5, Translation(beams=1, max_tokens=10))
    assert len(set(found)) > 2


@pytest.mark.parametrize("compute_type", get_args(CT2Options.model_fields["compute_type"].annotation))
def test_every_precision_is_stored_and_opened(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, compute_type: str
) -> None:
    found = export(model, tokenizer, make_masks(model), tmp_path / "out", compute_type=compute_type, least_chrf=0)
    whole = export(model, tokenizer, make_masks(model), tmp_path / "whole", least_chrf=0)
    assert (found.bytes < whole.bytes) == (compute_type != "float32")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert f"stored in `{compute_type}`" in card
    is_computed = compute_type in ctranslate2.get_supported_compute_types("cpu")
    assert ("cannot compute in it" in card) == (not is_computed)


def test_a_card_says_what_was_trimmed_and_too_little_agreement_is_refused(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, texts: dict[str, str], tmp_path: Path
) -> None:
    export(model, tokenizer, make_masks(model), tmp_path / "out", trim=texts, least_chrf=0)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert f"of the model's {model.config.vocab_size:,} tokens, which saves" in card

    with pytest.raises(NeuronspecError, match=r"chrF\+\+ .* expected 100 or more.*compute_type=float32"):
        export(model, tokenizer, make_masks(model), tmp_path / "no", compute_type="int8", trim=texts, least_chrf=100)
    assert not (tmp_path / "no").exists()


def test_text_that_looks_like_special_tokens_proves_nothing(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = ["ab </s> cd", "__en__ ab"]
    found = export(model, tokenizer, make_masks(model), tmp_path / "out", sentences=[*odd, "ab cd"])
    assert count_equal(found) == (1, 1)
    assert "2 sentences of de-en hold special tokens" in caplog.text

    with pytest.raises(NeuronspecError, match="each sentence of de-en holds a special token"):
        export(model, tokenizer, make_masks(model), tmp_path / "no", sentences=odd)


def test_the_advice_names_what_differs() -> None:
    choose = EXPORTS["ct2"].standard
    assert choose(CT2Options()).advice == "accept the difference with a lower least_chrf"
    assert "compute_type=float32" in choose(CT2Options(compute_type="int8")).advice
    trimmed = choose(CT2Options(trim={"de": Path(__file__)})).advice
    assert trimmed.startswith("trim the vocabulary to more text, or not at all")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trim": {"de": "missing"}}, "trim has no text in en: name a file for each language of the task"),
        ({"trim": {"de": "given", "en": "missing"}}, r"missing does not exist; .* holds (?!.*\.tmp)"),
        ({"trim": {"de": "given", "deu": "missing"}}, "de and deu are the same language; give one file for each"),
        ({"compute_type": "int4"}, "the format ct2 cannot have compute_type='int4'"),
    ],
)
def test_options_that_cannot_work_are_refused(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: dict[str, str],
    tmp_path: Path,
    options: dict[str, Any],
    message: str,
) -> None:
    if "trim" in options:
        options = {"trim": {**options["trim"], "de": texts["de"]}}
    with pytest.raises(NeuronspecError, match=message):
        export(model, tokenizer, make_masks(model), tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_with_a_vocabulary_for_each_side_is_refused(tmp_path: Path) -> None:
    tokenizer = make_marian(tmp_path, separate=True, source_lang="de", target_lang="en")
    model = make_untrained(tokenizer, "marian")
    with pytest.raises(NeuronspecError, match="MarianTokenizer has a vocabulary for each side"):
        export(model, tokenizer, None, tmp_path / "out", dense=True)
