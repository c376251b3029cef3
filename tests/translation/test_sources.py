"""What is decoded: blank lines cost nothing, long lines are fitted to the model, with either engine."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from tests.conftest import SHAPES
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    MBartConfig,
    MBartForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from neuronspec.config.sections import Translation
from neuronspec.errors import NeuronspecError
from neuronspec.models.codec import TextCodec
from neuronspec.models.length_limits import read_limits
from neuronspec.neurons.architectures import ARCHITECTURES
from neuronspec.translation.beam_search import translate_sentences
from neuronspec.translation.ct2_translator import CT2Translator
from neuronspec.translation.sources import check_sources

Decode = Callable[..., list[str]]

POSITIONS = 16
BLANK = ["", " ", "\t \r", "​", "﻿", "‏‎", "⁠ ", "­"]
LONG = " ".join("abcdefghijklmnop")


def make_model(tokenizer: PreTrainedTokenizerFast, kind: str = "mbart") -> PreTrainedModel:
    """Make an untrained model with a table of 16 positions that writes something for each sentence."""
    torch.set_num_threads(1)
    torch.manual_seed(4)
    shape: dict[str, Any] = {
        **{"vocab_size": len(tokenizer), "d_model": 16, "encoder_layers": 1, "decoder_layers": 1},
        **{"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24},
        **{"max_position_embeddings": POSITIONS, "init_std": 0.4, "decoder_start_token_id": 2, "pad_token_id": 1},
        **{"eos_token_id": 2, "bos_token_id": 0, "forced_eos_token_id": None},
    }
    if kind == "mbart":
        return MBartForConditionalGeneration(MBartConfig(**shape))
    return AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model(kind, **shape))


@pytest.fixture(params=["transformers", "ctranslate2"])
def decode(request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerFast) -> Decode:
    """Either engine with the same model."""
    model = make_model(tokenizer)
    if request.param == "transformers":
        return lambda *arguments, **options: translate_sentences(model, tokenizer, *arguments, **options)
    pytest.importorskip("ctranslate2")
    return CT2Translator(model, tokenizer)


def run(decode: Decode, sentences: Sequence[str], **options: Any) -> list[str]:
    return decode(sentences, ["de-en"] * len(sentences), Translation(beams=2, max_tokens=6, **options))


def test_blank_lines_stay_blank_and_cost_nothing(decode: Decode) -> None:
    advanced: list[int] = []
    lines = ["abc", *BLANK, "def"]
    made = decode(lines, ["de-en"] * len(lines), Translation(beams=2, max_tokens=6), advance=advanced.append)
    assert made[1:-1] == [""] * len(BLANK)
    assert [made[0], made[-1]] == run(decode, ["abc", "def"])
    assert all((made[0], made[-1]))
    assert sum(advanced) == len(lines)


def test_nothing_but_blank_lines_is_no_fault(decode: Decode) -> None:
    assert run(decode, BLANK) == [""] * len(BLANK)
    assert run(decode, []) == []


@pytest.mark.parametrize("joined", ["a‌b", "می‌خواهم", "क्‍ष"])
def test_joiners_within_words_are_text(decode: Decode, joined: str) -> None:
    assert run(decode, [joined]) != [""]


def test_a_line_that_is_too_long_is_cut_by_default_and_said_once(
    decode: Decode, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        made = run(decode, ["abc", LONG, "def", LONG * 3])
    assert len(made) == 4
    assert [record.message for record in caplog.records] == [
        f"2 of 4 are longer than {POSITIONS} tokens, the most that are read (lines 2, 4): cut to that length"
    ]
    assert [made[0], made[2]] == run(decode, ["abc", "def"])


def test_a_line_that_is_too_long_is_left_out_on_request(decode: Decode) -> None:
    made = run(decode, ["abc", LONG, "def"], too_long="skip")
    assert made == [run(decode, ["abc"])[0], "", run(decode, ["def"])[0]]


def test_a_line_that_is_too_long_is_refused_on_request(decode: Decode) -> None:
    with pytest.raises(NeuronspecError, match=r"1 of 2 is longer than 16 tokens.*\(line 2\).*cut or skip"):
        run(decode, ["abc", LONG], too_long="error")
    with pytest.raises(NeuronspecError, match="line 2"):
        decode(["abc", LONG], ["de-en"] * 2, Translation(too_long="error"), quiet=True)


def test_a_translation_never_outgrows_the_decoders_positions(decode: Decode) -> None:
    (made,) = decode(["abc"], ["de-en"], Translation(beams=1, max_tokens=500))
    assert made


def test_exactly_as_long_as_the_positions_is_not_too_long(
    tokenizer: PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture
) -> None:
    codec = TextCodec(tokenizer, make_model(tokenizer).config)
    room = codec.format("de-en").room[0]
    assert room == POSITIONS - 2
    text = next(text for n in range(40) if len(codec.encode_sources([text := "ab " * n + "a"])[0]) == room)
    check_sources(codec, [text], ["de-en"], "error", "text")
    longer = next(text for n in range(40) if len(codec.encode_sources([text := "ab " * n + "a"])[0]) > room)
    with pytest.raises(NeuronspecError, match="text: 1 of 1 is longer"):
        check_sources(codec, [longer], ["de-en"], "error", "text")


def test_a_whole_file_is_checked_before_it_is_translated(
    tokenizer: PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture
) -> None:
    codec = TextCodec(tokenizer, make_model(tokenizer).config)
    lines = ["abc", "", LONG] * 30
    with caplog.at_level(logging.WARNING):
        check_sources(codec, lines, ["de-en"] * len(lines), "cut", "news.de")
    (record,) = caplog.records
    assert record.message.startswith("news.de: 30 of 90 are longer than 16 tokens")
    assert "(lines 3, 6, 9, 12, 15, 18, 21, 24, 27, 30 and 20 more)" in record.message


ENCODER_DECODERS = sorted(name for name, entry in ARCHITECTURES.items() if "encoder" in entry.stacks and name in SHAPES)


@pytest.mark.parametrize("kind", ENCODER_DECODERS)
def test_the_limit_is_what_the_model_can_really_read(kind: str) -> None:
    torch.manual_seed(0)
    model = AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model(kind, **SHAPES[kind])).eval()

    def read(source: int, target: int) -> None:
        ids = torch.full((1, source), 5), torch.full((1, target), 6)
        model(input_ids=ids[0], decoder_input_ids=ids[1], attention_mask=torch.ones_like(ids[0]))

    source, target = read_limits(model.config)
    read(source or 200, target or 200)
    for longer in ((source + 3, 5) if source else (), (5, target + 3) if target else ()):
        if longer:
            with pytest.raises((IndexError, RuntimeError)):
                read(*longer)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_early_stopping_is_that_of_beam_search(tokenizer: PreTrainedTokenizerFast, early_stopping: bool) -> None:
    model = make_model(tokenizer)
    seen: list[dict[str, Any]] = []
    generate = model.generate

    def watch(*arguments: Any, **options: Any) -> Any:
        seen.append(options)
        return generate(*arguments, **options)

    model.generate = watch
    for asked in (early_stopping, None):
        translate_sentences(model, tokenizer, ["abc"], ["de-en"], Translation(beams=3, early_stopping=asked))
    assert seen[0]["early_stopping"] is early_stopping
    assert "early_stopping" not in seen[1]


def test_characters_that_become_several_tokens_are_found_too(
    tokenizer: PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture
) -> None:
    class Expanding(TextCodec):
        def encode_sources(self, sentences: Sequence[str], task: str | None = None) -> list[list[int]]:
            normal = [unicodedata.normalize("NFKC", sentence) for sentence in sentences]
            return [[5] * len(sentence) for sentence in normal]

    codec = Expanding(tokenizer, make_model(tokenizer).config)
    check_sources(codec, ["\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}", "abc"], ["de-en"] * 2, "cut", "greetings")
    assert "greetings: 1 of 2 is longer than 16 tokens" in caplog.text


@pytest.mark.parametrize(
    ("sentences", "tasks", "message"),
    [
        ("abc", ["de-en"] * 3, "give sentences as a list of texts, not 'abc'"),
        (["abc", None], ["de-en"] * 2, "give sentences as a list of texts, not None"),
        (["abc"], "de-en", "give tasks as a list of texts, not 'de-en'"),
        (["abc", "caf\udce9"], ["de-en"] * 2, r"'caf\\udce9' holds bytes that are not UTF-8"),
    ],
)
def test_what_is_no_text_is_refused(decode: Decode, sentences: Any, tasks: Any, message: str) -> None:
    with pytest.raises(NeuronspecError, match=message):
        decode(sentences, tasks)
