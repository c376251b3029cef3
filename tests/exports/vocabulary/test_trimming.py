"""A trimmed vocabulary splits text of its tokens as before, knows every ordinary text, and loads without this code."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.exports.vocabulary.vocabularies import (
    KINDS,
    LEARNED,
    SYLLABLES,
    TASKS,
    TEXTS,
    make_model,
    make_nllb,
    make_ours,
)
from tests.models.tokenizers import make_blenderbot_small, make_marian
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    M2M100Tokenizer,
    MarianTokenizer,
    MBart50Tokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from neuronspec.errors import NeuronspecError
from neuronspec.exports.vocabulary.trimming import TrimmedVocabulary, list_tokens, trim_vocabulary
from neuronspec.models.building import build_model
from neuronspec.models.codec import TextCodec
from neuronspec.models.embeddings import Embeddings
from neuronspec.models.token_matrices import take_tokens
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize
from neuronspec.specialization.routing import dense

NEEDS_TAGS = (M2M100Tokenizer, MBart50Tokenizer)  # classes that always have the tags of all their languages


@dataclass(frozen=True, repr=False)
class Case:
    tokenizer: PreTrainedTokenizerBase
    model: PreTrainedModel
    trimmed: TrimmedVocabulary


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    found = {}
    for name, (make, architecture, changes) in KINDS.items():
        tokenizer = make(tmp_path_factory.mktemp("tokenizer"))
        model = make_model(tokenizer, architecture, **changes)
        trimmed = trim_vocabulary(model, tokenizer, TEXTS, TASKS, held_out={"de": LEARNED[:9], "en": LEARNED[:9]})
        found[name] = Case(tokenizer, model, trimmed)
    return found


def codecs(case: Case) -> tuple[TextCodec, TextCodec]:
    before = TextCodec(case.tokenizer, case.model.config)
    return before, TextCodec(case.trimmed.tokenizer, case.trimmed.model.config)


# The words of the texts, and others in the same script
LATIN = [syllable for syllable in SYLLABLES if "LATIN" in unicodedata.name(syllable[0])]
words = st.one_of(
    st.sampled_from(" ".join([*TEXTS["de"], *TEXTS["en"]]).split()),
    st.lists(st.sampled_from(LATIN), min_size=1, max_size=6).map("".join),
)


@pytest.mark.parametrize("name", KINDS)
@given(text=st.lists(words, min_size=1, max_size=6).map(" ".join))
def test_a_text_of_kept_tokens_is_split_as_before_and_every_other_one_is_known(
    cases: dict[str, Case], name: str, text: str
) -> None:
    before, after = codecs(cases[name])
    for encode in ("encode_sources", "encode_targets"):
        (old,), (new,) = (getattr(codec, encode)([text]) for codec in (before, after))
        mapped = [cases[name].trimmed.ids[number] for number in new]
        if {*old} <= {*cases[name].trimmed.ids}:
            assert mapped == old
        assert before.tokenizer.unk_token_id not in {*mapped} - {*old}
        assert after.decode([new]) == before.decode([mapped]) == before.decode([old])


@pytest.mark.parametrize("name", KINDS)
def test_logits_of_kept_tokens_are_those_of_the_whole_model(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    before, after = codecs(case)
    assert len(case.trimmed.ids) < 0.9 * case.model.config.vocab_size
    sentence = TEXTS["de"][0]
    with torch.inference_mode():
        logits = []
        for codec, model in ((before, case.model), (after, case.trimmed.model)):
            form = codec.format("de-en")
            source = torch.tensor([form.source(codec.encode_sources([sentence])[0])])
            target = torch.tensor([form.decoder_input(codec.encode_targets(TEXTS["en"][:1])[0])])
            logits.append(model(input_ids=source, decoder_input_ids=target).logits)
    torch.testing.assert_close(logits[1], logits[0][..., list(case.trimmed.ids)], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_it_is_saved_and_loaded_with_plain_transformers(cases: dict[str, Case], name: str, tmp_path: Path) -> None:
    trimmed = cases[name].trimmed
    trimmed.model.save_pretrained(tmp_path)
    trimmed.tokenizer.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    model, info = AutoModelForSeq2SeqLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["mismatched_keys"]
    assert list_tokens(tokenizer) == list_tokens(trimmed.tokenizer)
    size = len(trimmed.ids)
    assert model.config.vocab_size == model.get_output_embeddings().out_features == size == len(list_tokens(tokenizer))
    inputs = tokenizer(TEXTS["de"][:3], return_tensors="pt", padding=True)
    options = {"max_new_tokens": 6, "do_sample": False, "num_beams": 1}
    assert torch.equal(model.generate(**inputs, **options), trimmed.model.generate(**inputs, **options))


@pytest.mark.parametrize("name", KINDS)
def test_special_tokens_tags_and_configured_ids_keep_their_meaning(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    before, after = codecs(case)
    ids = case.trimmed.ids
    old, new = before.format("de-en"), after.format("de-en")
    assert [ids[number] for number in new.source([])] == old.source([])
    assert [ids[number] for number in new.decoding_start] == old.decoding_start
    for key in ("pad_token_id", "eos_token_id", "decoder_start_token_id", "forced_eos_token_id"):
        number = getattr(case.trimmed.model.config, key, None)
        assert (None if number is None else ids[number]) == getattr(case.model.config, key, None)
    assert case.tokenizer.all_special_tokens[:3] == case.trimmed.tokenizer.all_special_tokens[:3]
    french = [
        token for token in list_tokens(case.trimmed.tokenizer) if token in ("__fr__", "fra_Latn", "<2fr>", "fr_XX")
    ]
    assert bool(french) == isinstance(case.tokenizer, NEEDS_TAGS)


def test_ids_in_lists_of_the_configuration_are_renumbered(tmp_path: Path) -> None:
    tokenizer = make_nllb(tmp_path)
    model = make_model(tokenizer, "m2m_100")
    german, late = (tokenizer.convert_tokens_to_ids(token) for token in ("deu_Latn", "▁"))
    model.generation_config.bad_words_ids = [[late, german]]
    model.generation_config.forced_bos_token_id = german
    model.generation_config.suppress_tokens = [model.config.vocab_size - 1, late]
    trimmed = trim_vocabulary(model, tokenizer, TEXTS, TASKS)
    numbers = {old: new for new, old in enumerate(trimmed.ids)}
    settings = trimmed.model.generation_config
    assert settings.bad_words_ids == [[numbers[late], numbers[german]]]
    assert settings.forced_bos_token_id == numbers[german]
    assert settings.suppress_tokens == [numbers[late]]
    assert model.generation_config.forced_bos_token_id == german


@pytest.mark.parametrize("embeddings", ["separate", "shared"])
def test_matrices_that_are_one_stay_one_and_masks_stay_on(tmp_path: Path, embeddings: Embeddings) -> None:
    tokenizer = make_ours(tmp_path)
    model = build_model("tiny", tokenizer, seed=1, embeddings=embeddings).eval()
    layers = find_ffn_layers(model)
    masks = NeuronMasks(["de-en"], {layer.name: torch.arange(layer.width)[None] % 2 == 0 for layer in layers})
    specialize(model, masks)
    trimmed = trim_vocabulary(model, tokenizer, TEXTS, TASKS).model
    for one in (model, trimmed):
        tied = one.get_encoder().embed_tokens.weight is one.lm_head.weight
        assert tied == (embeddings == "shared")
        assert one.get_decoder().embed_tokens.weight is one.lm_head.weight
    ids = torch.tensor([[4, 5, 2]])
    masked = trimmed(input_ids=ids, decoder_input_ids=ids, tasks=["de-en"]).logits
    with dense(trimmed):
        assert not torch.equal(masked, trimmed(input_ids=ids, decoder_input_ids=ids).logits)


def test_a_higher_least_count_keeps_fewer_tokens_and_the_report_measures_what_changes(tmp_path: Path) -> None:
    tokenizer = make_nllb(tmp_path)
    model = make_model(tokenizer, "m2m_100")
    reports = [
        trim_vocabulary(model, tokenizer, TEXTS, TASKS, min_count=count, held_out=TEXTS).report for count in (1, 4)
    ]
    assert reports[0].tokens_after > reports[1].tokens_after
    assert reports[0].change is not None
    assert reports[0].change.changed == 0
    assert reports[1].change is not None
    assert 0 < reports[1].change.changed < 1
    assert reports[1].change.tokens_after > reports[1].change.tokens_before
    assert reports[1].change.unknown_after == reports[1].change.unknown_before == 0
    rows = reports[0].tokens_before
    assert reports[0].bytes_before == rows * 16 * 4
    assert reports[0].bytes_after == reports[0].tokens_after * 16 * 4


def test_a_language_without_text_is_refused(cases: dict[str, Case]) -> None:
    case = cases["ours"]
    with pytest.raises(NeuronspecError, match="no text in en; give some for each language"):
        trim_vocabulary(case.model, case.tokenizer, {"de": ["ba"]}, TASKS)


def test_tokenizers_of_other_kinds_are_refused_by_name(tmp_path: Path) -> None:
    tokenizer: PreTrainedTokenizerBase = make_blenderbot_small(tmp_path)
    model = make_model(tokenizer, "blenderbot-small")
    with pytest.raises(NeuronspecError, match="cannot trim the vocabulary of a BlenderbotSmallTokenizer"):
        trim_vocabulary(model, tokenizer, {"de": ["a"], "en": ["b"]}, TASKS)

    marian = make_marian(tmp_path, separate=True, source_lang="de", target_lang="en")
    assert isinstance(marian, MarianTokenizer)
    model = make_model(marian, "marian")
    with pytest.raises(NeuronspecError, match="MarianTokenizer with a vocabulary for each side"):
        trim_vocabulary(model, marian, {"de": ["a"], "en": ["b"]}, TASKS)


def test_another_id_for_padding_is_refused_where_positions_begin_there(tmp_path: Path) -> None:
    tokenizer = make_ours(tmp_path)
    model = make_model(tokenizer, "m2m_100")
    model.get_encoder().embed_positions.padding_idx = 9
    with pytest.raises(NeuronspecError, match="positions begin at the id of the padding token, 9, which would become"):
        take_tokens(model, [0, 1, 2, 3, 9])


def test_the_code_on_the_page_about_exports_runs(
    cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[3] / "docs" / "export.md").read_text(encoding="utf-8")
    (code,) = [code for code in re.findall(r"^```python\n(.*?)^```", page, re.S | re.M) if "trim_vocabulary" in code]
    case = cases["nllb"]
    names: dict[str, object] = {
        "model": case.model,
        "tokenizer": case.tokenizer,
        "german": TEXTS["de"],
        "english": TEXTS["en"],
    }
    exec(compile(code, "export.md", "exec"), names)
    assert AutoTokenizer.from_pretrained("small").convert_tokens_to_ids("deu_Latn") < len(case.trimmed.ids)
