"""Text as a model's own tokenizer makes it: every family of encoder-decoders, both sides."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models.tokenizers import FAMILIES, make_marian, make_nllb, make_t5
from transformers import (
    AutoModelForSeq2SeqLM,
    M2M100Config,
    MarianConfig,
    MBartConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    T5Config,
)

from neuronspec.errors import NeuronspecError
from neuronspec.models.codec import TextCodec
from neuronspec.models.encoding import name_tokens, target_tokenizer
from neuronspec.models.transformers_internals import shift_labels
from neuronspec.models.written_text import decode_text
from neuronspec.neurons.architectures import ARCHITECTURES

TEXT = "a b c"
SOURCES = {"m2m_100": "en", "mbart": "en_XX", "nllb": "eng_Latn"}
TARGETS = {"m2m_100": "de", "mbart": "de_DE", "nllb": "deu_Latn"}


@pytest.fixture(scope="module")
def codecs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TextCodec]:
    """How each family wants its text."""
    made = {}
    for number, (name, family) in enumerate(FAMILIES.items()):
        folder = tmp_path_factory.mktemp(f"family{number}")
        made[name] = TextCodec(family.make(folder), family.config())
    return made


def ask_tokenizer(name: str, tokenizer: Any, text: str) -> tuple[list[int], list[int]]:
    """Return what a tokenizer itself makes of a source in English and of a target in German."""
    family = name.split(" ")[0].split("-")[0]
    if family in SOURCES:
        before = tokenizer.src_lang, tokenizer.tgt_lang
        tokenizer.src_lang, tokenizer.tgt_lang = SOURCES[family], TARGETS[family]
    prefix = {"marian": ">>deu<<", "madlad": "<2de>"}.get(name, "")
    source = tokenizer(f"{prefix} {text}" if prefix else text)["input_ids"]
    target = target_tokenizer(tokenizer)(text_target=text)["input_ids"]
    if family in SOURCES:
        tokenizer.src_lang, tokenizer.tgt_lang = before
    return source, target


@pytest.mark.parametrize("name", FAMILIES)
def test_both_sides_are_what_the_tokenizer_itself_makes(codecs: dict[str, TextCodec], name: str) -> None:
    codec = codecs[name]
    source, target = ask_tokenizer(name, codec.tokenizer, TEXT)
    form = codec.format("en-de")
    assert form.source(codec.encode_sources([TEXT])[0]) == source
    assert form.labels(codec.encode_targets([TEXT])[0]) == target


def test_every_registered_encoder_decoder_is_among_the_families(codecs: dict[str, TextCodec]) -> None:
    registered = {name for name, entry in ARCHITECTURES.items() if "encoder" in entry.stacks}
    assert registered <= {codec.config.model_type for codec in codecs.values()}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_decoder_reads_its_labels_shifted_as_the_model_shifts_them(codecs: dict[str, TextCodec], name: str) -> None:
    codec = codecs[name]
    form = codec.format("en-de")
    (ids,) = codec.encode_targets([TEXT])
    labels = torch.tensor([form.labels(ids)])
    config = codec.config
    config.pad_token_id = codec.tokenizer.pad_token_id
    with torch.device("meta"):
        model = AutoModelForSeq2SeqLM.from_config(config)
    assert shift_labels(model, labels)[0].tolist() == form.decoder_input(ids)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_written_is_read_back_without_tags_and_special_tokens(codecs: dict[str, TextCodec], name: str) -> None:
    codec = codecs[name]
    form = codec.format("en-de")
    (ids,) = codec.encode_targets(["a b"])
    written = [*form.decoding_start[1:], *ids, *form.target_suffix, form.target_pad or form.pad]
    assert codec.decode([written]) == [codec.tokenizer.decode(ids).strip()]
    assert codec.decode([written]) == ["a b"]


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.has_tags])
def test_directions_into_different_languages_look_different(codecs: dict[str, TextCodec], name: str) -> None:
    formats = codecs[name].formats(["en-de", "en-fr"])
    german, french = formats["en-de"], formats["en-fr"]
    assert (german.source([5]), german.decoding_start) != (french.source([5]), french.decoding_start)


@pytest.mark.parametrize("name", ["t5", "mt5", "umt5", "bart", "pegasus", "blenderbot"])
def test_a_model_without_tags_is_not_asked_for_several_languages(codecs: dict[str, TextCodec], name: str) -> None:
    with pytest.raises(NeuronspecError, match=r"en-de and de-en look the same.*source_prefix"):
        codecs[name].formats(["en-de", "de-en", "en-fr"])


def test_a_model_of_one_direction_needs_no_tags(codecs: dict[str, TextCodec], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        codecs["t5"].formats(["de-en", "fr-en", "deu_Latn-en"])
        assert not caplog.records
        codecs["t5"].formats(["en-de"])
        codecs["t5"].formats(["en-de"])
    assert [record.message.split(",")[0] for record in caplog.records] == ["this model has no language tags"]


@pytest.mark.parametrize(
    ("name", "task", "asked"),
    [
        ("madlad", "en-sv", "Swedish"),
        ("madlad", "de-hsb", "hsb"),
        ("marian", "en-sv", "Swedish"),
        ("nllb", "en-br", "Breton"),
        ("nllb legacy", "br-en", "Breton"),
        ("mbart-cc25", "en-sv", "Swedish"),
        ("mbart-50", "en-br", "Breton"),
        ("m2m_100", "szl-en", "Silesian"),
    ],
)
def test_a_language_without_a_tag_is_refused(codecs: dict[str, TextCodec], name: str, task: str, asked: str) -> None:
    with pytest.raises(NeuronspecError, match=rf"no tag for .*{asked}"):
        codecs[name].format(task)


@pytest.mark.parametrize("name", ["marian, two vocabularies", "fsmt"])
def test_a_model_of_one_pair_refuses_another(codecs: dict[str, TextCodec], name: str) -> None:
    assert codecs[name].format("eng_Latn-deu").tags == ()
    with pytest.raises(NeuronspecError, match="the model translates en-de, not en-fr"):
        codecs[name].format("en-fr")


@pytest.mark.parametrize("group", ["mul", "roa", "zle", "ROMANCE", "NORTH_EU", ""])
def test_a_model_of_a_group_of_languages_takes_each_of_them(tmp_path: Path, group: str) -> None:
    tokenizer = make_marian(tmp_path, source_lang=group, target_lang="en")
    codec = TextCodec(tokenizer, MarianConfig(decoder_start_token_id=3))
    assert codec.formats(["fr-en", "uk-en"])
    with pytest.raises(NeuronspecError, match="not fr-de"):
        codec.format("fr-de")


@pytest.mark.parametrize("name", ["marian", "marian, two vocabularies", "fsmt"])
def test_each_side_is_encoded_with_its_own_vocabulary(codecs: dict[str, TextCodec], name: str) -> None:
    codec = codecs[name]
    assert not codec.encodes_sides_alike
    text = "a b c hello world"
    before = codec.encode_sources([text])
    assert codec.encode_targets([text]) != before
    assert codec.encode_sources([text]) == before  # the tokenizer is left as it was
    assert codec.vocabulary_size >= len(codec.tokenizer)


def test_a_tag_that_is_a_plain_piece_of_the_vocabulary_is_no_text_when_the_model_writes_it(
    codecs: dict[str, TextCodec],
) -> None:
    tokenizer = codecs["madlad"].tokenizer
    ids = codecs["madlad"].encode_targets(["a b"])[0]
    tag = tokenizer.convert_tokens_to_ids("<2zh>")
    written = [ids[0], tag, *ids[1:], tag]
    assert decode_text(tokenizer, [written]) == codecs["madlad"].decode([written]) == ["a b"]


def test_a_legacy_tokenizer_is_decoded_from_the_tag_but_not_trained(codecs: dict[str, TextCodec]) -> None:
    codec = codecs["nllb legacy"]
    form = codec.formats(["en-de", "en-fr"])["en-de"]
    assert codec.tokenizer.convert_ids_to_tokens(form.decoding_start) == ["</s>", "deu_Latn"]
    with pytest.raises(NeuronspecError, match="legacy_behaviour=False"):
        codec.formats(["en-de", "en-fr"], training=True)
    with pytest.raises(NeuronspecError, match=r"en-pt and en-pt-BR look the same .* one tag for both target languages"):
        codec.formats(["en-pt", "en-pt-BR"])  # nothing is trained


def test_a_token_that_a_user_added_is_a_tag(tmp_path: Path) -> None:
    tokenizer = make_nllb(tmp_path)
    tokenizer.add_tokens(["ton_Latn", "gsw-bern"], special_tokens=True)
    codec = TextCodec(tokenizer, M2M100Config(decoder_start_token_id=2))
    form = codec.format("ton_Latn-gsw-bern")
    assert tokenizer.convert_ids_to_tokens(form.tags) == ["ton_Latn", "gsw-bern"]
    assert tokenizer.convert_ids_to_tokens(form.source([7])) == ["ton_Latn", "▁a", "</s>"]


def test_a_token_that_was_added_as_a_word_is_no_tag(tmp_path: Path) -> None:
    tokenizer = make_nllb(tmp_path)
    tokenizer.add_tokens(["hsb"])
    with pytest.raises(NeuronspecError, match=r"'hsb' was added .* as a word.*special_tokens=True"):
        TextCodec(tokenizer, M2M100Config(decoder_start_token_id=2)).format("hsb-de")


@pytest.mark.parametrize("hostile", [">>fra<< a b", "<2fr> a b", "</s> a", "a >>deu<< b", "__de__ a", "deu_Latn a"])
@pytest.mark.parametrize("name", FAMILIES)
def test_text_that_looks_like_a_tag_stays_text(codecs: dict[str, TextCodec], name: str, hostile: str) -> None:
    codec = codecs[name]
    form = codec.format("en-de")
    added = {*form.tags, *form.source_suffix, form.start}
    if codec.tokenizer.unk_token_id is not None:
        added -= {codec.tokenizer.unk_token_id}
    for ids in (*codec.encode_sources([hostile]), *codec.encode_targets([hostile])):
        assert not added & {*ids}
        french = [tag for tag in (">>fra<<", "<2fr>") if tag in codec.tokenizer.get_vocab()]
        assert not {codec.tokenizer.convert_tokens_to_ids(tag) for tag in french} & {*ids}


PREFIXES = ["translate {src_name} to {tgt_name}: ", {"en-de": "German: ", "en-fr": "French: "}]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("name", ["t5", "pegasus", "mbart-50"])
def test_a_prefix_in_words_tells_the_direction(tmp_path: Path, name: str, prefix: Any) -> None:
    tokenizer, config = FAMILIES[name].make(tmp_path), FAMILIES[name].config()
    codec = TextCodec(tokenizer, config, prefix)
    formats = codec.formats(["en-de", "en-fr"], training=True)
    words = "translate English to German: " if isinstance(prefix, str) else "German: "
    if name == "mbart-50":
        tokenizer.src_lang = "en_XX"
    (ids,) = codec.encode_sources(["hello world"])
    assert formats["en-de"].source(ids) == tokenizer(f"{words}hello world")["input_ids"]


def test_a_prefix_is_read_as_byte_level_tokenizers_read_it(tmp_path: Path) -> None:
    tokenizer, config = FAMILIES["bart"].make(tmp_path), FAMILIES["bart"].config()
    codec = TextCodec(tokenizer, config, "to {tgt}: ")
    (ids,) = codec.encode_sources(["word"])
    assert codec.format("en-de").source(ids) == tokenizer("to de: word")["input_ids"]
    assert not codec.encodes_sides_alike


def test_a_prefix_may_hold_a_tag_of_the_vocabulary(tmp_path: Path) -> None:
    tokenizer = FAMILIES["madlad"].make(tmp_path)
    codec = TextCodec(tokenizer, T5Config(decoder_start_token_id=0), "<2{tgt}> ")
    (ids,) = codec.encode_sources(["hello"])
    assert codec.format("en-de").source(ids) == tokenizer("<2de> hello")["input_ids"]


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ("to {language}: ", "unknown placeholder {language}"),
        ("to {tgt: ", "cannot read the source_prefix"),
        ("to {}: ", "unknown placeholder {}"),
    ],
)
def test_a_prefix_that_cannot_be_filled_in_is_refused(tmp_path: Path, prefix: str, message: str) -> None:
    with pytest.raises(NeuronspecError, match=message):
        TextCodec(make_t5(tmp_path), T5Config(), prefix)


def test_a_prefix_that_does_not_tell_the_language_is_refused(tmp_path: Path) -> None:
    codec = TextCodec(make_t5(tmp_path), T5Config(decoder_start_token_id=0), "translate: ")
    with pytest.raises(NeuronspecError, match=r"the same source_prefix.*write \{tgt\}"):
        codec.formats(["en-de", "en-fr"])
    with pytest.raises(NeuronspecError, match="no source_prefix for en-fr"):
        TextCodec(codec.tokenizer, codec.config, {"en-de": "German: "}).formats(["en-de", "en-fr"])


def test_the_prefixes_of_a_models_own_configuration_are_used(tmp_path: Path) -> None:
    config = T5Config(decoder_start_token_id=0)
    config.task_specific_params = {
        "summarization": {"prefix": "summarize: "},
        "translation_en_to_de": {"prefix": "translate German: "},
    }
    tokenizer = make_t5(tmp_path)
    codec = TextCodec(tokenizer, config)
    (ids,) = codec.encode_sources(["hello"])
    assert codec.format("eng-de").source(ids) == tokenizer("translate German: hello")["input_ids"]
    with pytest.raises(NeuronspecError, match="has a prefix for en-de, none for en-fr"):
        codec.format("en-fr")


def test_tags_that_a_tokenizer_does_not_mark_as_special_are_not_read_back(tokenizer: PreTrainedTokenizerFast) -> None:
    vocabulary = tokenizer.get_vocab()
    unmarked = PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, eos_token="</s>", pad_token="<pad>")
    codec = TextCodec(unmarked, M2M100Config(decoder_start_token_id=2))
    written = [2, vocabulary["__de__"], *unmarked("abc", add_special_tokens=False)["input_ids"], 2, 1]
    assert "__" not in codec.decode([written])[0]


def test_training_needs_an_end_of_sentence(codecs: dict[str, TextCodec]) -> None:
    with pytest.raises(NeuronspecError, match="does not mark the end of a sentence"):
        codecs["blenderbot-small"].formats(["en-de"], training=True)


def test_long_text_is_cut_to_what_the_model_can_read(codecs: dict[str, TextCodec]) -> None:
    form = dataclasses.replace(codecs["nllb"].format("en-de"), longest_source=5, longest_target=4)
    assert form.source(range(50, 70)) == [*form.source_prefix, 50, 51, 52, *form.source_suffix]
    assert form.labels(range(50, 70)) == [*form.target_prefix, 50, 51, *form.target_suffix]
    assert len(form.decoder_input(range(50, 70))) == 4


@pytest.mark.parametrize("name", FAMILIES)
def test_tokens_are_called_by_their_names_in_the_vocabulary_of_their_side(
    codecs: dict[str, TextCodec], name: str
) -> None:
    codec = codecs[name]
    for side, encode in (("source", codec.encode_sources), ("target", codec.encode_targets)):
        (ids,) = encode(["a b"])
        letters = "".join(name_tokens(codec.tokenizer, side, ids))  # type: ignore[arg-type]
        assert [letter for letter in letters if letter in "ab"] == ["a", "b"]


def test_a_model_with_two_vocabularies_pads_each_side_with_its_own_token(tmp_path: Path) -> None:
    tokenizer: PreTrainedTokenizerBase = make_marian(tmp_path, separate=True)
    form = TextCodec(tokenizer, MarianConfig(decoder_start_token_id=3)).format("en-de")
    vocabulary: Any = tokenizer
    assert form.pad == vocabulary.encoder["<pad>"]
    assert form.target_pad == vocabulary.target_encoder["<pad>"] != form.pad


def test_a_prefix_stands_after_the_tag_that_the_model_has(tmp_path: Path) -> None:
    tokenizer, config = FAMILIES["madlad"].make(tmp_path), T5Config(decoder_start_token_id=0)
    codec = TextCodec(tokenizer, config, "translate: ")
    (ids,) = codec.encode_sources(["hello"])

    formats = codec.formats(["en-de", "en-fr"], training=True)

    assert formats["en-de"].source(ids) == tokenizer("<2de> translate: hello")["input_ids"]
    assert formats["en-fr"].source(ids) == tokenizer("<2fr> translate: hello")["input_ids"]
    with pytest.raises(NeuronspecError, match="the same source_prefix"):  # two languages that only words could tell
        codec.formats(["en-hsb", "en-dsb"])
    worded = TextCodec(tokenizer, config, {"en-de": "hello: ", "en-hsb": "world: "}).formats(["en-de", "en-hsb"])
    assert not worded["en-hsb"].tags


def test_a_prefix_that_leaves_no_room_for_text_is_refused(tmp_path: Path) -> None:
    tokenizer = FAMILIES["mbart-50"].make(tmp_path)
    config = MBartConfig(max_position_embeddings=16, decoder_start_token_id=2)
    assert TextCodec(tokenizer, config, "a b: ").format("en-de").room == (9, 14)
    with pytest.raises(NeuronspecError, match=r"en-de: no token of text fits next to the \d+ tokens.*source_prefix"):
        TextCodec(tokenizer, config, "a b c a b c a b c: ").format("en-de")
    config.max_position_embeddings = 2
    with pytest.raises(NeuronspecError, match="too few positions"):
        TextCodec(tokenizer, config).format("en-de")


@pytest.mark.parametrize("name", ["m2m_100", "nllb", "mbart-50"])
def test_two_languages_that_share_a_tag_are_refused_together(tmp_path: Path, name: str) -> None:
    codec = TextCodec(FAMILIES[name].make(tmp_path), FAMILIES[name].config())
    assert len(codec.formats(["en-pt", "pt_BR-en"])) == 2
    with pytest.raises(NeuronspecError, match=r"en-pt and en-pt_BR look the same .* one tag for both"):
        codec.formats(["en-pt", "en-pt_BR"])


@pytest.mark.parametrize(
    ("name", "sizes", "side"),
    [
        ("m2m_100", {"vocab_size": 11}, "source"),  # the tags
        ("nllb", {"vocab_size": 7}, "source"),
        ("madlad", {"vocab_size": 3}, "source"),
        ("t5", {"vocab_size": 4}, "source"),  # the words
        ("marian, two vocabularies", {"vocab_size": 4}, "source"),
        ("marian, two vocabularies", {"decoder_vocab_size": 5}, "target"),
        ("fsmt", {"src_vocab_size": 5}, "source"),
        ("fsmt", {"tgt_vocab_size": 4}, "target"),
    ],
)
def test_a_token_without_an_embedding_is_refused(
    codecs: dict[str, TextCodec], name: str, sizes: dict[str, int], side: str
) -> None:
    config = FAMILIES[name].config()
    for key, size in sizes.items():
        setattr(config, key, size)
    codec = TextCodec(codecs[name].tokenizer, config)
    size = next(iter(sizes.values()))
    encode = codec.encode_sources if side == "source" else codec.encode_targets
    with pytest.raises(NeuronspecError, match=rf"but the model has embeddings for {size} tokens, .*resize_token_emb"):
        encode([f"{TEXT} word"] if codec.format("en-de") else [])


def test_as_many_embeddings_as_tokens_are_enough(codecs: dict[str, TextCodec]) -> None:
    tokenizer = codecs["m2m_100"].tokenizer
    codec = TextCodec(tokenizer, M2M100Config(decoder_start_token_id=2))
    ids = [*codec.format("en-de").tags, *codec.encode_sources([TEXT])[0]]
    exact = TextCodec(tokenizer, M2M100Config(decoder_start_token_id=2, vocab_size=max(ids) + 1))
    assert exact.encode_sources([TEXT]) == codec.encode_sources([TEXT])
    assert exact.format("en-de") == codec.format("en-de")
    with pytest.raises(NeuronspecError, match="resize_token_embeddings"):
        TextCodec(tokenizer, M2M100Config(decoder_start_token_id=2, vocab_size=max(ids))).format("en-de")
